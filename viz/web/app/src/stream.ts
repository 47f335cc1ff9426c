// The stream of updates of a page, over server-sent events.
import { useEffect, useState } from 'preact/hooks';
import type { Head, Refusal } from './api';

// Live is the last value of a page, and whether it is up to date.
export interface Live<P> {
  state: 'loading' | 'live' | 'stale';
  page?: P;
  refusal?: Refusal; // why there is no newer value
}

export interface Status {
  state: 'loading' | 'live' | 'stale' | 'none';
  at?: string;
  refusal?: Refusal;
}

type Listener = (status: Status) => void;

// The header shows the status of the page that is open.
let status: Status = { state: 'none' };
const listeners = new Set<Listener>();

// publish sets what the header shows. A page without a stream calls it itself.
export function publish(next: Status) {
  status = next;
  for (const l of listeners) l(next);
}

// useStatus returns the status of the open page's stream.
export function useStatus(): Status {
  const [now, set] = useState(status);
  useEffect(() => {
    listeners.add(set);
    set(status);
    return () => void listeners.delete(set);
  }, []);
  return now;
}

const hiddenAfter = 15_000; // milliseconds after which a hidden page closes its stream
const firstRetry = 1_000;
const lastRetry = 15_000;

// staleAfter returns the age in milliseconds at which a value is stale. Values come every 5 s, or about previous
// milliseconds apart.
export function staleAfter(previous: number): number {
  return Math.max(20_000, 2.5 * previous);
}

// retryAfter returns the milliseconds to wait before the next attempt; attempt begins at 0.
export function retryAfter(attempt: number): number {
  return Math.min(lastRetry, firstRetry * 2 ** attempt);
}

// searchOf returns the query of /api/stream and /api/page.
export function searchOf(page: string, params: Record<string, string | undefined>): string {
  const search = new URLSearchParams({ page });
  for (const [name, value] of Object.entries(params)) if (value) search.set(name, value);
  return search.toString();
}

// useStream keeps the page up to date while it is open. The parameters are those of viz/board's Query.
export function useStream<P extends Head>(page: string, params: Record<string, string | undefined>): Live<P> {
  const search = searchOf(page, params);
  const [live, set] = useState<{ search: string; live: Live<P> }>({ search, live: { state: 'loading' } });
  useEffect(() => {
    const end = watch<P>(search, (next) => set({ search, live: next }));
    return () => {
      end();
      publish({ state: 'none' });
    };
  }, [search]);
  const now: Live<P> = live.search === search ? live.live : { state: 'loading', page: live.live.page };
  useEffect(() => publish({ state: now.state, at: now.page?.at, refusal: now.refusal }),
    [now.state, now.page?.at, now.refusal]);
  return now;
}

// watch calls set with each change. It returns a function that ends it.
function watch<P extends Head>(search: string, set: (live: Live<P>) => void): () => void {
  let source: EventSource | undefined;
  let live: Live<P> = { state: 'loading' };
  let attempt = 0;
  let received = 0;
  let age: number | undefined;
  let retry: number | undefined;
  let hidden: number | undefined;

  const change = (next: Live<P>) => set((live = next));
  const stale = (refusal?: Refusal) => change({ ...live, state: live.page ? 'stale' : 'loading', refusal });

  const open = () => {
    source = new EventSource(`/api/stream?${search}`);
    source.addEventListener('page', (event: MessageEvent<string>) => {
      const now = performance.now();
      window.clearTimeout(age);
      age = window.setTimeout(() => stale(live.refusal), staleAfter(received === 0 ? 0 : now - received));
      received = now;
      attempt = 0;
      change({ state: 'live', page: JSON.parse(event.data) as P });
    });
    source.addEventListener('refusal', (event: MessageEvent<string>) => {
      attempt = 0;
      stale(JSON.parse(event.data) as Refusal);
    });
    source.onerror = () => {
      close();
      retry = window.setTimeout(open, retryAfter(attempt++));
      void why(search).then((refusal) => source === undefined && stale(refusal));
    };
  };
  const close = () => {
    source?.close();
    source = undefined;
    window.clearTimeout(retry);
  };
  const visibility = () => {
    window.clearTimeout(hidden);
    if (document.hidden) hidden = window.setTimeout(close, hiddenAfter);
    else if (source === undefined) {
      window.clearTimeout(retry);
      open();
    }
  };
  document.addEventListener('visibilitychange', visibility);
  open();
  return () => {
    document.removeEventListener('visibilitychange', visibility);
    window.clearTimeout(age);
    window.clearTimeout(hidden);
    close();
  };
}

export const away: Refusal = {
  code: 'unavailable',
  message: 'The dashboard does not answer.',
  remedy: 'If `tulle viz dashboard` has stopped, start it again. This page then continues.',
};

export const noSession: Refusal = {
  code: 'forbidden',
  message: 'This browser has no session.',
  remedy: 'Open the address that `tulle viz dashboard` printed in your terminal.',
};

// why returns the refusal of a stream, because an EventSource does not expose the status and the body of an answer.
async function why(search: string): Promise<Refusal | undefined> {
  try {
    const answer = await fetch(`/api/page?${search}`);
    if (answer.ok) return undefined;
    if (answer.status === 401) return noSession;
    return (await answer.json()) as Refusal;
  } catch {
    return away;
  }
}
