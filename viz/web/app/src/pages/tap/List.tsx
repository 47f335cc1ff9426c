import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { plural } from '../../format';
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

// List shows the newest rows first, and draws only those that are seen. What the viewer reads stays where it is.
export function List(props: { rows: Row[]; selected: string | null; onSelect: (key: string | null) => void }) {
  const { rows, selected, onSelect } = props;
  const height = useNarrow() ? heights.narrow : heights.wide;
  const frame = useRef<HTMLDivElement>(null);
  const anchor = useRef<{ key: string; offset: number } | null>(null);
  const [seen, setSeen] = useState({ top: 0, size: 800 });

  const look = () => {
    const el = frame.current;
    if (!el) return; // the list is gone
    const first = rows[Math.floor(el.scrollTop / height)];
    anchor.current = el.scrollTop > 0 && first ? { key: first.key, offset: el.scrollTop % height } : null;
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

  const from = Math.max(0, Math.floor(seen.top / height) - extra);
  const to = Math.min(rows.length, Math.ceil((seen.top + seen.size) / height) + extra);
  const move = (e: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (e.key === 'Escape' && selected) return onSelect(null);
    const index = rows.findIndex((r) => r.key === selected);
    const next = step !== undefined && index >= 0 ? rows[index + step] : undefined;
    if (!next) return;
    e.preventDefault();
    onSelect(next.key);
    const el = frame.current!;
    const top = (index + step!) * height;
    if (top < el.scrollTop) el.scrollTop = top;
    else if (top + height > el.scrollTop + el.clientHeight) el.scrollTop = top + height - el.clientHeight;
  };
  return (
    <div class="tap-list card">
      <div
        class="tap-scroll"
        ref={frame}
        tabIndex={0}
        role="region"
        aria-label="Requests, newest first"
        onScroll={look}
        onKeyDown={move}
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
            {rows.slice(from, to).map((row, i) => (
              <Line
                key={row.key}
                row={row}
                index={from + i}
                top={(from + i) * height}
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
  selected: boolean;
  onSelect: (key: string | null) => void;
}) {
  const { row, selected } = props;
  const took = tookOf(row);
  return (
    <div
      role="row"
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
