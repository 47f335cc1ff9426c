// The numbers of the past, read again whenever there can be a new value.
import { useEffect, useState } from 'preact/hooks';
import type { HistoryPage, Ref, Refusal } from './api';
import { searchOf } from './stream';

export interface Past {
  page?: HistoryPage;
  refusal?: Refusal;
}

// againAfter returns the seconds to wait before the next request.
export function againAfter(step: number | undefined): number {
  return Math.max(15, step ?? 0);
}

// useHistory returns the golden metrics of an object over a span; {} until they are known.
export function useHistory(of: Ref, span: string): Past {
  const search = searchOf('history', { namespace: of.namespace, kind: of.kind, name: of.name, span });
  const [past, set] = useState<{ search: string; past: Past }>({ search, past: {} });
  useEffect(() => {
    let gone = false;
    let timer: number | undefined;
    const ask = async () => {
      let next: Past = {};
      if (document.hidden) {
        timer = window.setTimeout(ask, 1000);
        return;
      }
      try {
        const answer = await fetch(`/api/page?${search}`);
        next = answer.ok ? { page: (await answer.json()) as HistoryPage } : { refusal: (await answer.json()) as Refusal };
      } catch {
        next = {}; // the stream of the page reports that the dashboard does not answer
      }
      if (gone) return;
      if (next.page || next.refusal) set({ search, past: next });
      timer = window.setTimeout(ask, againAfter(next.page?.step) * 1000);
    };
    void ask();
    return () => {
      gone = true;
      window.clearTimeout(timer);
    };
  }, [search]);
  return past.search === search ? past.past : {};
}
