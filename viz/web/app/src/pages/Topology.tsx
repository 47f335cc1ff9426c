import { useEffect, useMemo, useState } from 'preact/hooks';
import type { ComponentChildren } from 'preact';
import type { TopologyPage } from '../api';
import { plural } from '../format';
import { linkTo, usePageQuery } from '../link';
import type { PageProps } from '../pages';
import { quote } from '../quote';
import { useStream } from '../stream';
import { Choice } from '../ui/Choice';
import { Command } from '../ui/Command';
import { Empty } from '../ui/Empty';
import { toneOf } from '../ui/Golden';
import { Icon } from '../ui/Icon';
import { Name } from '../ui/Name';
import { PageFrame } from '../ui/Page';
import { isObject, select } from './topology/graph';
import { Panel } from './topology/Panel';
import { Picture } from './topology/Picture';
import { Tables } from './topology/Tables';
import './topology/topology.css';

// The parameters that say what the server shows; the others are about how it is looked at.
const scopeParams = ['namespace', 'with', 'kind', 'name', 'group', 'expand', 'collapse'] as const;

export default function Topology({ query }: PageProps) {
  const [, change] = usePageQuery();
  const asked = Object.fromEntries(scopeParams.map((p) => [p, query[p]]));
  const live = useStream<TopologyPage>('topology', { ...asked, window: query.window });
  const narrow = useNarrow();
  const view = query.view ?? (narrow ? 'table' : 'graph');
  const find = query.find ?? '';
  const selection = useMemo(() => live.page ? select(live.page, query.selected) : null, [live.page, query.selected]);
  const onSelect = (id: string | null) => change({ selected: id });
  useEscape(query.selected !== undefined || find !== '', () => change({ selected: null, find: null }));
  const panel = (page: TopologyPage) => selection && <Panel page={page} selection={selection} onSelect={onSelect} />;
  const scope = scopeParams.map((p) => query[p] ?? '').join('\n');
  return (
    <div class={view === 'graph' ? 'topology fills' : 'topology'}>
      <PageFrame title="Topology" live={live} sub={live.page && <Sub page={live.page} query={query} />} actions={
        <>
          <div class="search find">
            <Icon name="search" />
            <input type="search" data-search placeholder="Find" aria-label="Find a node by name, namespace or kind" value={find}
              spellcheck={false} autocomplete="off" onInput={(e) => change({ find: e.currentTarget.value })}
              onKeyDown={(e) => {
                const first = live.page && find && firstMatch(live.page, find);
                if (e.key === 'Enter' && first) change({ selected: first, find: null });
              }} />
            <kbd aria-hidden="true">/</kbd>
          </div>
          {!query.kind && (
            <Choice label="Group by" options={['Workloads', 'Namespaces']} onPick={(g) => change({
              group: g === 'Workloads' ? 'workload' : 'namespace', expand: null, collapse: null, selected: null })}
              value={(live.page?.group ?? query.group ?? (query.namespace ? 'workload' : 'namespace')) === 'workload' ? 'Workloads' : 'Namespaces'} />
          )}
          <Choice label="View" options={['Graph', 'Table']} value={view === 'graph' ? 'Graph' : 'Table'}
            onPick={(v) => change({ view: v.toLowerCase() === (narrow ? 'table' : 'graph') ? null : v.toLowerCase() })} />
        </>
      }>
        {(page) => page.nodes.length === 0 ? <Nothing query={query} /> : view === 'graph' ? (
          <Picture page={page} scope={scope} selection={selection} find={find} onSelect={onSelect}
            onCollapse={(namespace) => change(collapsed(query, page, namespace))}
            panel={panel(page)} />
        ) : <Tables page={page} find={find} panel={panel(page)} />}
      </PageFrame>
    </div>
  );
}

function firstMatch(page: TopologyPage, text: string): string | undefined {
  const wanted = text.trim().toLowerCase();
  return (page.nodes.find((n) => n.name.toLowerCase() === wanted) ?? page.nodes.find((n) => n.name.toLowerCase().includes(wanted)))?.id;
}

// collapsed returns the change of the address that makes one node of a namespace.
function collapsed(query: Record<string, string>, page: TopologyPage, namespace: string): Record<string, string | null> {
  const list = (text = '') => text.split(',').filter((n) => n !== '' && n !== namespace);
  return page.group === 'namespace' ? { expand: list(query.expand).join(','), selected: null }
    : { collapse: [...list(query.collapse), namespace].join(','), selected: null };
}

// Sub says what the picture is of, and what is wrong in it.
function Sub({ page, query }: { page: TopologyPage; query: Record<string, string> }) {
  const plain = page.edges.filter((e) => e.security === 'plaintext' || e.security === 'mixed').length;
  const low = page.nodes.filter((n) => ['warning', 'error'].includes(toneOf(n.success))).length;
  const objects = page.nodes.filter(isObject);
  const namespaces = objects.filter((n) => n.kind === 'namespace').length;
  const parts: ComponentChildren[] = [];
  if (objects.length - namespaces > 0) parts.push(plural(objects.length - namespaces, 'workload'));
  if (namespaces > 0) parts.push(plural(namespaces, 'namespace'));
  parts.push(plural(page.edges.length, 'edge'));
  parts.push(plain > 0 ? <span class="mark-word"><Icon name="unlocked" /> {plain} with plaintext</span>
    : page.edges.length > 0 && <span class="mark-word"><Icon name="lock" /> all mTLS in the mesh</span>);
  if (low > 0) parts.push(<span class="mark-word warning"><Icon name="warning" /> {low} with low success</span>);
  return (
    <>
      {page.focus && <>Neighbours of <strong><Name>{page.focus.name}</Name></strong>{' '}
        (<a href={linkTo('/topology', query, { namespace: page.focus.namespace })}>show all of <Name>{page.focus.namespace}</Name></a>) · </>}
      {parts.filter(Boolean).map((p, i) => <>{i > 0 && ' · '}{p}</>)}
    </>
  );
}

function Nothing({ query }: { query: Record<string, string> }) {
  return (
    <Empty title="Nothing to draw">
      <p>No workload here has pods, and none was called in the last ten minutes.</p>
      <p><Command>{`tulle viz edges deploy ${query.namespace ? `-n ${quote(query.namespace)}` : '-A'}`}</Command></p>
    </Empty>
  );
}

// useNarrow reports whether a graph would be too small to read.
function useNarrow(): boolean {
  const media = useMemo(() => matchMedia('(max-width: 600px)'), []);
  const [narrow, set] = useState(media.matches);
  useEffect(() => {
    const change = () => set(media.matches);
    media.addEventListener('change', change);
    return () => media.removeEventListener('change', change);
  }, []);
  return narrow;
}

// useEscape calls back when people press Esc.
function useEscape(active: boolean, then: () => void) {
  useEffect(() => {
    if (!active) return;
    const key = (e: KeyboardEvent) => e.key === 'Escape' && !e.defaultPrevented && then();
    document.addEventListener('keydown', key);
    return () => document.removeEventListener('keydown', key);
  });
}
