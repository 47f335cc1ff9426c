import { useEffect, useRef, useState } from 'preact/hooks';
import type { TopologyPage } from '../../api';
import { taskOf } from './graph';
import { place, type Layout } from './grid';

// Layouts of the scopes that were open, so that a picture that comes back looks as it did.
const known = new Map<string, Layout>();
const mostKnown = 20;

function remember(scope: string, layout: Layout) {
  known.delete(scope);
  known.set(scope, layout);
  if (known.size > mostKnown) known.delete(known.keys().next().value!);
}

let worker: Worker | undefined;
let asked = 0;

// arrange asks the worker for a layout. done is called unless the result's call comes first.
function arrange(page: TopologyPage, aspect: number, done: (layout: Layout) => void): () => void {
  worker ??= new Worker(new URL('./layout.worker.ts', import.meta.url), { type: 'module', name: 'layout' });
  const number = ++asked;
  const here = worker;
  const answer = (event: MessageEvent<{ number: number; layout: Layout }>) => {
    if (event.data.number !== number) return;
    here.removeEventListener('message', answer);
    done(event.data.layout);
  };
  here.addEventListener('message', answer);
  here.postMessage({ number, task: taskOf(page, aspect) });
  return () => here.removeEventListener('message', answer);
}

export interface Arranged {
  layout: Layout | null; // null while the first is made
  scope: string; // what the layout is of
  made: number; // changes when everything may have moved
  patched: boolean; // nodes were put where there was room
  again: () => void;
}

// useLayout returns where the nodes of a page are. Nodes stay where they are while the scope is the same.
export function useLayout(page: TopologyPage, scope: string, aspect: number): Arranged {
  const [state, set] = useState<Omit<Arranged, 'again'>>(() =>
    ({ layout: known.get(scope) ?? null, scope, made: 0, patched: false }));
  const forced = useRef(0);
  const [force, again] = useState(0);
  const ids = page.nodes.map((n) => n.id).join('\n');
  useEffect(() => {
    const old = known.get(scope);
    const put = force === forced.current && old ? place(old, taskOf(page, aspect)) : null;
    forced.current = force;
    if (put) {
      const patched = page.nodes.some((n) => !old!.nodes[n.id]);
      remember(scope, { ...put, nodes: { ...old!.nodes, ...put.nodes } }); // a node that comes back gets its old place
      set((s) => ({ layout: put, scope, made: s.scope === scope ? s.made : s.made + 1, patched: s.scope === scope && s.patched || patched }));
      return;
    }
    return arrange(page, aspect, (layout) => {
      remember(scope, layout);
      set((s) => ({ layout, scope, made: s.made + 1, patched: false }));
    });
  }, [scope, ids, force]);
  return { ...state, again: () => again((n) => n + 1) };
}
