import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Ref, TapPage } from '../api';
import { count, plural, sentence } from '../format';
import { linkTo, usePageQuery } from '../link';
import type { PageProps } from '../pages';
import { quote } from '../quote';
import { Command, Text } from '../ui/Command';
import { Empty, RefusalView } from '../ui/Empty';
import { Icon } from '../ui/Icon';
import { PageFrame } from '../ui/Page';
import { SearchField } from '../ui/SearchField';
import { Detail } from './tap/Detail';
import { Filters } from './tap/Filters';
import { List } from './tap/List';
import { failed, matches, maxRows, type Row, type View } from './tap/log';
import { bodyOf, commandOf, defaultRate, isNamespace, namespaceOf, targetOf, type Params } from './tap/query';
import { Targets } from './tap/Targets';
import { useWatch, type Watch } from './tap/watch';
import './tap/tap.css';

export default function Tap({ query }: PageProps) {
  const [, change] = usePageQuery();
  const target = targetOf(query);
  return target ? (
    <Watching params={query} target={target} change={change} />
  ) : (
    <Targets params={query} change={change} />
  );
}

const here = { state: 'live' as const, page: { at: '', window: '', notes: [], targets: [] } satisfies TapPage };

function Watching({
  params,
  target,
  change,
}: {
  params: Params;
  target: Ref;
  change: (c: Record<string, string | null>) => void;
}) {
  const watch = useWatch(bodyOf(params, target));
  const [selected, select] = useState<string | null>(null);
  const { view } = watch;
  const text = (params.search ?? '').toLowerCase();
  const only = params.only === 'failed';
  const rows = useMemo(
    () => view.rows.filter((r) => matches(r, text) && (!only || failed(r))).reverse(),
    [view.rows, text, only],
  );
  const row = useKept(view.rows, selected);
  const what = isNamespace(target.kind)
    ? `namespace ${namespaceOf(target)}`
    : `${params.resource} in ${target.namespace}`;
  return (
    <PageFrame
      title="Tap"
      live={here}
      sub={<bdi>Requests of {what}, while they happen</bdi>}
      actions={
        <>
          <a class="button" href={linkTo('/tap', { namespace: namespaceOf(target) })}>
            Choose another target
          </a>
          <button
            type="button"
            class="button"
            onClick={() => {
              watch.clear();
              select(null);
            }}
          >
            Clear
          </button>
          <button
            type="button"
            class="button primary"
            aria-pressed={watch.paused}
            onClick={() => watch.pause(!watch.paused)}
          >
            <Icon name={watch.paused ? 'play' : 'pause'} /> {watch.paused ? 'Resume' : 'Pause'}
          </button>
        </>
      }
    >
      {() => (
        <>
          <Filters params={params} target={target} change={change} />
          <Status watch={watch} shown={rows.length} />
          <div class="section-head tap-tools">
            <SearchField label="Search the list" value={params.search ?? ''} onInput={(search) => change({ search })} />
            <label class="tap-check">
              <input
                type="checkbox"
                checked={only}
                onChange={(e) => change({ only: e.currentTarget.checked ? 'failed' : null })}
              />{' '}
              Failed only
            </label>
            <div class="tap-command">
              <Command>{commandOf(params, target)}</Command>
            </div>
          </div>
          <div class={row ? 'tap-grid open' : 'tap-grid'}>
            {rows.length > 0 ? (
              <List rows={rows} selected={selected} onSelect={select} />
            ) : (
              <Waiting watch={watch} target={target} filtered={view.rows.length > 0} change={change} />
            )}
            {row && <Detail key={row.key} row={row} rows={view.rows} params={params} onClose={() => select(null)} />}
          </div>
        </>
      )}
    </PageFrame>
  );
}

// useKept returns the selected row, also after the list has lost it.
function useKept(rows: Row[], key: string | null): Row | null {
  const kept = useRef<Row | null>(null);
  const found = useMemo(() => (key === null ? null : (rows.find((r) => r.key === key) ?? null)), [rows, key]);
  useEffect(() => {
    if (found || key === null) kept.current = found;
  }, [found, key]);
  return found ?? (kept.current?.key === key ? kept.current : null);
}

// Status says whether the watch runs, and what the list does not have.
function Status({ watch, shown }: { watch: Watch; shown: number }) {
  const { view, refusal } = watch;
  const proxies = view.watching === null ? '' : plural(view.watching, 'proxy', 'proxies');
  return (
    <div class="tap-status">
      <p role="status" class={`tap-state ${watch.state}`}>
        {watch.state === 'watching' && !watch.paused && (
          <>
            <span class="dot" /> Watching {proxies}
          </>
        )}
        {watch.state === 'watching' && watch.paused && (
          <>
            <Icon name="pause" /> Paused
          </>
        )}
        {watch.state === 'connecting' && (
          <>
            <span class="dot" /> Asking the proxies…
          </>
        )}
        {watch.state === 'hidden' && (
          <>
            <Icon name="pause" /> Stopped while the page was hidden
          </>
        )}
        {watch.state === 'retrying' && (
          <>
            <Icon name="warning" /> Interrupted; trying again
          </>
        )}
        {watch.state === 'refused' && (
          <>
            <Icon name="warning" /> Not watching
          </>
        )}
      </p>
      <ul>
        <li>
          <b>{count(view.total)}</b> {view.total === 1 ? 'request' : 'requests'}
        </li>
        {shown !== view.rows.length && (
          <li>
            <b>{count(shown)}</b> shown
          </li>
        )}
        {watch.fresh > 0 && (
          <li>
            <b>{count(watch.fresh)}</b> since the pause
          </li>
        )}
        {view.dropped > 0 && (
          <li title={`The list keeps the newest ${maxRows}`}>
            <b>{count(view.dropped)}</b> older dropped
          </li>
        )}
        {view.skipped > 0 && (
          <li
            class="warning-text"
            title="Requests over the limit of requests per second. Narrow the filters, or raise the limit."
          >
            <Icon name="warning" /> <b>{count(view.skipped)}</b> over the limit
          </li>
        )}
        {view.lost > 0 && (
          <li class="warning-text" title="Events that were not read in time. Narrow the filters.">
            <Icon name="warning" /> <b>{count(view.lost)}</b> {view.lost === 1 ? 'event' : 'events'} lost
          </li>
        )}
      </ul>
      {refusal && view.rows.length > 0 && (
        <p class="tap-problem">
          <Icon name="warning" />{' '}
          <span>
            {sentence(refusal.message)} <Text>{refusal.remedy}</Text>
          </span>
        </p>
      )}
      <Missing view={view} />
    </div>
  );
}

// Missing names the proxies that are not watched, and why.
function Missing({ view }: { view: View }) {
  if (view.missing.length === 0) return null;
  return (
    <details class="tap-missing">
      <summary>
        <Icon name="right" /> <Icon name="warning" /> {plural(view.missing.length, 'proxy is', 'proxies are')} not
        watched
      </summary>
      <ul>
        {view.missing.map((m) => (
          <li key={m.proxy}>
            <bdi>{m.proxy}</bdi>
            {m.proxy && ': '}
            <bdi class="soft">{m.text}</bdi>
          </li>
        ))}
      </ul>
    </details>
  );
}

// Waiting takes the place of a list without rows.
function Waiting(props: {
  watch: Watch;
  target: Ref;
  filtered: boolean;
  change: (c: Record<string, string | null>) => void;
}) {
  const { watch } = props;
  if (watch.refusal) {
    return (
      <div class="card">
        <RefusalView refusal={watch.refusal} />
        <p class="tap-again">
          <button type="button" class="button" onClick={watch.again}>
            Try again now
          </button>
        </p>
      </div>
    );
  }
  if (props.filtered) {
    return (
      <div class="card">
        <Empty icon="search" title="Nothing in the list matches">
          <p>
            <button type="button" class="button" onClick={() => props.change({ search: null, only: null })}>
              Show all
            </button>
          </p>
        </Empty>
      </div>
    );
  }
  if (watch.state === 'connecting')
    return (
      <div class="card">
        <Empty icon="clock" title="Asking the proxies…" />
      </div>
    );
  return (
    <div class="card">
      <Empty icon="clock" title="No requests so far">
        <p>They appear here when they happen. If nothing comes, the filters may be too narrow, or the clients idle.</p>
        <p>This says how much traffic there is:</p>
        <Command>{statOf(props.target)}</Command>
        <p class="faint">
          At most {count(defaultRate)} new requests a second are shown, unless the filters say otherwise.
        </p>
      </Empty>
    </div>
  );
}

function statOf(target: Ref): string {
  const what = isNamespace(target.kind)
    ? 'deploy'
    : quote(target.name === '' ? target.kind : `${target.kind}/${target.name}`);
  return `tulle viz stat ${what} -n ${quote(namespaceOf(target))}`;
}
