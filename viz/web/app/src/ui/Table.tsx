import { Fragment, type ComponentChildren } from 'preact';
import { useCallback, useRef, useState } from 'preact/hooks';
import { count } from '../format';
import { usePageQuery } from '../link';
import { Icon } from './Icon';
import { compareValues, orderOf, pressed, withOrder, type Order } from './order';

// Column is a column of a Table. Rows with a small sort value come first.
export interface Column<R> {
  key: string;
  title: string;
  cell: (row: R) => ComponentChildren;
  numeric?: boolean;
  sort?: (row: R) => number | string;
  help?: string; // what the heading means
}

export interface TableProps<R> {
  id: string; // names the table in the address, which holds its order
  caption: string; // for screen readers
  columns: Column<R>[]; // the first is the row's heading
  rows: R[];
  rowKey: (row: R) => string;
  rowClass?: (row: R) => string | undefined;
  detail?: (row: R) => ComponentChildren; // what is shown below the row; null for nothing
  empty?: ComponentChildren;
  flat?: boolean; // whether it stays a table on narrow screens; otherwise rows become cards
}

// sorted returns the rows in the order of a column, or as they are. Rows that are equal stay as they are.
export function sorted<R>(rows: R[], columns: Column<R>[], order: Order | null): R[] {
  const by = columns.find((c) => c.key === order?.key)?.sort;
  if (!by || !order) return rows;
  const sign = order.reversed ? -1 : 1;
  return [...rows].sort((a, b) => {
    return sign * compareValues(by(a), by(b));
  });
}

// mostRows is how many rows a table has until people ask for all: a browser is slow with thousands.
const mostRows = 200;

// Table is a table whose headings sort it, in the address. A third press on a heading restores the first order.
export function Table<R>(props: TableProps<R>) {
  const [query, change] = usePageQuery();
  const order = orderOf(query.sort, props.id);
  const press = (key: string) => change({ sort: withOrder(query.sort, props.id, pressed(order, key)) });
  const [all, setAll] = useState(false);
  const [frame, scrolls] = useScrolls();
  if (props.rows.length === 0 && props.empty) return <>{props.empty}</>;
  const rows = sorted(props.rows, props.columns, order);
  return (
    <div class="table-frame" ref={frame} tabIndex={scrolls ? 0 : -1} role="region" aria-label={props.caption}>
      <table class={props.flat ? undefined : 'stacked'} role="table">
        <caption class="unseen">{props.caption}</caption>
        <thead>
          <tr>
            {props.columns.map((c) => (
              <th key={c.key} scope="col" class={c.numeric ? 'numeric' : undefined} title={c.help}
                aria-sort={order?.key === c.key ? (order.reversed ? 'descending' : 'ascending') : undefined}>
                {c.sort ? (
                  <button type="button" onClick={() => press(c.key)}>
                    {c.title}
                    {order?.key === c.key && <Icon name={order.reversed ? 'up' : 'down'} />}
                  </button>
                ) : c.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {(all ? rows : rows.slice(0, mostRows)).map((row) => {
            const detail = props.detail?.(row);
            return (
              <Fragment key={props.rowKey(row)}>
                <tr role="row" class={props.rowClass?.(row)}>
                  {props.columns.map((c, i) => i === 0
                    ? <th key={c.key} scope="row" role="rowheader">{c.cell(row)}</th>
                    : <td key={c.key} role="cell" class={c.numeric ? 'numeric' : undefined} data-title={c.title}>{c.cell(row)}</td>)}
                </tr>
                {detail && <tr role="row" class="detail"><td role="cell" colSpan={props.columns.length}>{detail}</td></tr>}
              </Fragment>
            );
          })}
        </tbody>
      </table>
      {rows.length > mostRows && (
        <button type="button" class="more" aria-expanded={all} onClick={() => setAll(!all)}>
          <Icon name={all ? 'up' : 'down'} />{all ? `Show the first ${mostRows} rows` : `Show all ${count(rows.length)} rows`}
        </button>
      )}
    </div>
  );
}

// useScrolls returns a reference for an element, and whether it is wider than its place. Only then does Tab come to it.
function useScrolls(): [(element: HTMLElement | null) => void, boolean] {
  const [scrolls, set] = useState(false);
  const observer = useRef<ResizeObserver | null>(null);
  const frame = useCallback((element: HTMLElement | null) => {
    observer.current?.disconnect();
    if (!element) return;
    observer.current = new ResizeObserver(() => set(element.scrollWidth > element.clientWidth));
    observer.current.observe(element);
    observer.current.observe(element.firstElementChild!);
  }, []);
  return [frame, scrolls];
}
