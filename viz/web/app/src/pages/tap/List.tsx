import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { plural } from '../../format';
import { lost } from '../../ui/focus';
import { Icon } from '../../ui/Icon';
import type { Row } from './log';
import { addressOf, isMeshTLS, nameOf, OutcomeBadge, span, timeOf, tookOf } from './show';

const narrow = '(max-width: 760px)';
const heights = { wide: 40, narrow: 68 };
const extra = 8; // rows that are drawn above and below what is seen

function useNarrow(): boolean {
  const [now, set] = useState(() => matchMedia(narrow).matches);
  useEffect(() => {
    const query = matchMedia(narrow);
    const change = () => set(query.matches);
    query.addEventListener('change', change);
    return () => query.removeEventListener('change', change);
  }, []);
  return now;
}

// List shows the newest rows first, and draws only those that are seen. What the viewer reads, or has the focus in, stays
// where it is. Tab comes to one row, and the arrows go on from there: the details come next.
export function List(props: { rows: Row[]; selected: string | null; onSelect: (key: string | null) => void }) {
  const { rows, selected, onSelect } = props;
  const height = useNarrow() ? heights.narrow : heights.wide;
  const frame = useRef<HTMLDivElement>(null);
  const anchor = useRef<{ key: string; offset: number } | null>(null);
  const [seen, setSeen] = useState({ top: 0, size: 800 });
  const [focused, setFocused] = useState<string | null>(null); // the row that Tab comes to
  const wanted = useRef<string | null>(null); // the row that gets the focus once it is drawn

  const look = () => {
    const el = frame.current;
    if (!el) return; // the list is gone
    const first = rows[Math.floor(el.scrollTop / height)];
    const reading = el.scrollTop > 0 || (el !== document.activeElement && el.contains(document.activeElement));
    anchor.current = reading && first ? { key: first.key, offset: el.scrollTop % height } : null;
    setSeen({ top: el.scrollTop, size: el.clientHeight });
  };
  useEffect(() => {
    const resize = new ResizeObserver(look);
    resize.observe(frame.current!);
    return () => resize.disconnect();
  }, []);
  useLayoutEffect(() => {
    const index = anchor.current ? rows.findIndex((r) => r.key === anchor.current!.key) : -1;
    if (index < 0) return;
    const top = index * height + anchor.current!.offset;
    if (Math.abs(frame.current!.scrollTop - top) >= 1) frame.current!.scrollTop = top;
  }, [rows, height]);

  useLayoutEffect(() => {
    const at = wanted.current && frame.current!.querySelector<HTMLElement>(`[data-row="${CSS.escape(wanted.current)}"] button`);
    if (!at) return;
    wanted.current = null;
    at.focus({ preventScroll: true });
    at.scrollIntoView({ block: 'nearest' }); // also if the list is partly out of the window
  });
  const opened = useRef<string | null>(null);
  useLayoutEffect(() => {
    if (selected === null && opened.current !== null && lost()) focus(rows.findIndex((r) => r.key === opened.current));
    opened.current = selected;
  }, [selected]);

  const from = Math.max(0, Math.floor(seen.top / height) - extra);
  const to = Math.min(rows.length, Math.ceil((seen.top + seen.size) / height) + extra);
  const first = Math.min(rows.length - 1, Math.ceil(seen.top / height));
  const at = rows.findIndex((r) => r.key === focused);
  const open = rows.findIndex((r) => r.key === selected);
  const home = at >= 0 ? at : open >= from && open < to ? open : first;
  const drawn = rows.slice(from, to).map((row, i) => ({ row, index: from + i }));
  if (at >= to) drawn.push({ row: rows[at]!, index: at });
  else if (at >= 0 && at < from) drawn.unshift({ row: rows[at]!, index: at });

  // focus scrolls to a row and gives it the focus.
  const focus = (index: number) => {
    const row = rows[index];
    const el = frame.current;
    if (!row || !el) return;
    wanted.current = row.key;
    setFocused(row.key);
    const top = index * height;
    if (top < el.scrollTop) el.scrollTop = top;
    else if (top + 2 * height > el.scrollTop + el.clientHeight) el.scrollTop = top + 2 * height - el.clientHeight;
  };
  const move = (e: KeyboardEvent) => {
    if (e.key === 'Escape' && selected) return onSelect(null);
    const page = Math.max(1, Math.floor(seen.size / height) - 2);
    const step: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length };
    const by = step[e.key];
    if (by === undefined) return;
    e.preventDefault();
    const next = Math.max(0, Math.min(rows.length - 1, home + by));
    focus(next);
    if (selected) onSelect(rows[next]!.key);
  };
  return (
    <div class="tap-list card">
      <div
        class="tap-scroll"
        ref={frame}
        tabIndex={-1}
        role="region"
        aria-label="Requests, newest first"
        onScroll={look}
        onKeyDown={move}
        onFocusIn={(e) => {
          setFocused((e.target as Element).closest<HTMLElement>('[data-row]')?.dataset.row ?? null);
          look();
        }}
        onFocusOut={look}
      >
        <div role="table" aria-label={plural(rows.length, 'request')} aria-rowcount={rows.length + 1}>
          <div role="rowgroup" class="tap-heads">
            <div role="row" aria-rowindex={1} class="tap-row tap-head">
              {['Time', 'Request', 'From', 'To', 'Result'].map((title) => (
                <span key={title} role="columnheader">
                  {title}
                </span>
              ))}
              <span role="columnheader" class="numeric" title="From the request to the end of its response">
                Took
              </span>
            </div>
          </div>
          <div role="rowgroup" class="tap-rows" style={{ height: `${rows.length * height}px` }}>
            {drawn.map(({ row, index }) => (
              <Line
                key={row.key}
                row={row}
                index={index}
                top={index * height}
                home={index === home}
                selected={row.key === selected}
                onSelect={onSelect}
              />
            ))}
          </div>
        </div>
      </div>
    </div>
  );
}

function Line(props: {
  row: Row;
  index: number;
  top: number;
  home: boolean; // whether Tab comes to it
  selected: boolean;
  onSelect: (key: string | null) => void;
}) {
  const { row, selected } = props;
  const took = tookOf(row);
  return (
    <div
      role="row"
      data-row={row.key}
      aria-rowindex={props.index + 2}
      class={selected ? 'tap-row selected' : 'tap-row'}
      onClick={() => props.onSelect(selected ? null : row.key)}
      style={{ transform: `translateY(${props.top}px)` }}
    >
      <span role="cell" class="tap-time">
        {timeOf(row)}
      </span>
      <span role="rowheader" class="tap-what">
        <button
          type="button"
          tabIndex={props.home ? 0 : -1}
          aria-expanded={selected}
          title={
            row.request
              ? `${row.request.method} ${row.request.authority}${row.request.path}`
              : 'A connection that is not HTTP'
          }
        >
          <Icon name={row.inbound ? 'received' : 'sent'} />
          <span class="unseen">{row.inbound ? 'received' : 'sent'}: </span>
          {row.request ? (
            <>
              <b>{row.request.method || '–'}</b> <bdi>{row.request.path || row.request.authority || '/'}</bdi>
            </>
          ) : (
            <>
              <b>TCP</b> <span class="soft">connection</span>
            </>
          )}
        </button>
      </span>
      <span role="cell" class="tap-from" title={`From ${addressOf(row.source)}`}>
        <bdi>{nameOf(row.source)}</bdi>
      </span>
      <span role="cell" class="tap-to" title={`To ${addressOf(row.destination)}`}>
        <Icon name={isMeshTLS(row) ? 'lock' : 'unlocked'} class={isMeshTLS(row) ? 'ok' : 'faint'} />
        <span class="unseen">{isMeshTLS(row) ? 'mesh TLS' : 'no mesh TLS'}, </span>
        <span class="short" aria-hidden="true">
          <bdi>{nameOf(row.source)}</bdi> →{' '}
        </span>
        <bdi>{nameOf(row.destination)}</bdi>
      </span>
      <span role="cell" class="tap-result">
        <OutcomeBadge row={row} />
      </span>
      <span role="cell" class="tap-took numeric">
        {took === null ? <span class="faint">–</span> : span(took)}
      </span>
    </div>
  );
}
