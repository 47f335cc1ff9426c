// The connection of a watch: it sends the query, reads messages, and reconnects.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Refusal, TapMessage, TapQuery } from '../../api';
import { away, noSession, publish, retryAfter } from '../../stream';
import { Log, type View } from './log';

export type State = 'connecting' | 'watching' | 'retrying' | 'refused' | 'hidden';

const redraw = 200; // milliseconds between two updates of the list
const hiddenAfter = 60_000; // milliseconds after which a hidden page stops its watch, which costs the proxies work

// Lines cuts chunks of text into lines of JSON.
export class Lines {
  private rest = '';

  add(chunk: string): TapMessage[] {
    const lines = (this.rest + chunk).split('\n');
    this.rest = lines.pop()!;
    return lines.filter((l) => l.trim() !== '').map((l) => JSON.parse(l) as TapMessage);
  }
}

// read gives each message of a watch to add, until the stream ends. It returns why.
async function read(query: TapQuery, add: (m: TapMessage) => void, signal: AbortSignal): Promise<Refusal> {
  const answer = await fetch('/api/tap', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(query),
    signal,
  });
  if (answer.status === 401) return noSession;
  if (!answer.ok || !answer.body) return (await answer.json()) as Refusal;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const lines = new Lines();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return away;
    for (const message of lines.add(value)) {
      if (message.refusal) return message.refusal;
      add(message);
    }
  }
}

// Watch is a watch as a page shows it.
export interface Watch {
  state: State;
  refusal?: Refusal; // why it does not run
  view: View;
  paused: boolean;
  fresh: number; // requests that came since the pause
  pause: (paused: boolean) => void;
  clear: () => void;
  again: () => void; // tries at once
}

// useWatch watches while the page is open. Another query begins a new list.
export function useWatch(query: TapQuery): Watch {
  const text = JSON.stringify(query);
  const log = useRef(new Log());
  const [now, set] = useState<{ state: State; refusal?: Refusal }>({ state: 'connecting' });
  const [view, setView] = useState<View>(() => log.current.view());
  const [pausedAt, setPausedAt] = useState<View | null>(null);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    log.current.clear();
    setPausedAt(null);
    const timer = window.setInterval(() => log.current.changed && setView(log.current.view()), redraw);
    const end = keep(JSON.parse(text) as TapQuery, log.current, (state, refusal) => set({ state, refusal }));
    return () => {
      window.clearInterval(timer);
      end();
      publish({ state: 'none' });
    };
  }, [text, attempt]);
  useEffect(
    () => publish({ state: now.state === 'watching' ? 'live' : now.state === 'connecting' ? 'loading' : 'none' }),
    [now.state],
  );
  return {
    ...now,
    view: pausedAt ?? view,
    paused: pausedAt !== null,
    fresh: pausedAt ? Math.max(0, view.total - pausedAt.total) : 0,
    pause: (paused) => setPausedAt(paused ? log.current.view() : null),
    clear: () => {
      log.current.clear();
      setPausedAt(pausedAt && log.current.view());
      setView(log.current.view());
    },
    again: () => setAttempt(attempt + 1),
  };
}

// keep watches until its result is called. It reconnects if that may help, and not while the page is hidden.
function keep(query: TapQuery, log: Log, change: (state: State, refusal?: Refusal) => void): () => void {
  let attempt = 0;
  let running: AbortController | undefined;
  let retry: number | undefined;
  let hidden: number | undefined;
  let asleep = false;

  const open = async () => {
    const own = (running = new AbortController());
    let watching = false;
    if (attempt === 0) change('connecting');
    log.begin();
    const refusal = await read(
      query,
      (message) => {
        if (!watching && (message.event || message.watching !== undefined)) {
          watching = true;
          attempt = 0;
          change('watching');
        }
        log.add(message);
      },
      own.signal,
    ).catch(() => away);
    if (own !== running) return; // closed
    running = undefined;
    if (refusal.code !== 'unavailable') return change('refused', refusal);
    change('retrying', refusal);
    retry = window.setTimeout(() => void open(), retryAfter(attempt++));
  };
  const close = () => {
    window.clearTimeout(retry);
    const old = running;
    running = undefined;
    old?.abort();
  };
  const visibility = () => {
    window.clearTimeout(hidden);
    if (document.hidden) {
      hidden = window.setTimeout(() => {
        asleep = true;
        close();
        change('hidden');
      }, hiddenAfter);
    } else if (asleep) {
      asleep = false;
      attempt = 0;
      void open();
    }
  };
  document.addEventListener('visibilitychange', visibility);
  void open();
  return () => {
    document.removeEventListener('visibilitychange', visibility);
    window.clearTimeout(hidden);
    close();
  };
}
