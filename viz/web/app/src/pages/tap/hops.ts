// Finds what other proxies saw of the same request.
import type { TapHeader } from '../../api';
import type { Row } from './log';

const zeros = /^0+$/;

// traceOf returns the ID of a request's trace, from the headers of W3C Trace Context or of B3; "" without one.
export function traceOf(row: Row): string {
  const value = (name: string) => find(row.requestHeaders.lines, name).trim().toLowerCase();
  const found =
    /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/.exec(value('traceparent')) ??
    /^((?:[0-9a-f]{16}){1,2})-[0-9a-f]{16}/.exec(value('b3')) ??
    /^((?:[0-9a-f]{16}){1,2})$/.exec(value('x-b3-traceid'));
  const id = found?.[1] ?? '';
  return zeros.test(id) ? '' : id;
}

function find(lines: TapHeader[], name: string): string {
  return lines.find((h) => h.name.toLowerCase() === name)?.valueStr ?? '';
}

const maxHops = 40;

// How much the clocks of two nodes may differ, in milliseconds: usually, and at most.
const skews = [2, 20];

// hopsOf returns the rows of a request and of its trace, in the order of time. Without a trace it adds the other
// proxy's row if exactly one row can be it.
export function hopsOf(row: Row, rows: Row[]): Row[] {
  if (!row.request) return [row];
  const trace = traceOf(row);
  const candidates = rows.filter((r) => r.key !== row.key && r.request && traceOf(r) === trace);
  const others = trace !== '' ? candidates.slice(0, maxHops - 1) : otherSide(row, candidates);
  return [row, ...others].sort((a, b) => a.at - b.at || Number(a.inbound) - Number(b.inbound));
}

function otherSide(row: Row, candidates: Row[]): Row[] {
  for (const skew of skews) {
    const found = candidates.filter((r) => sameRequest(row, r, skew));
    if (found.length > 0) return found.length === 1 ? found : [];
  }
  return [];
}

// sameRequest reports whether two rows are the two sides of one request.
function sameRequest(a: Row, b: Row, skew: number): boolean {
  if (a.inbound === b.inbound || a.proxy === b.proxy) return false;
  const [client, server] = a.inbound ? [b, a] : [a, b];
  const same = (of: 'source' | 'destination') => {
    const [x, y] = [client[of].metadata.pod, server[of].metadata.pod];
    return x !== undefined && x === y && client[of].metadata.namespace === server[of].metadata.namespace;
  };
  return (
    same('source') &&
    same('destination') &&
    client.request!.method === server.request!.method &&
    client.request!.path === server.request!.path &&
    server.at >= client.at - skew &&
    (!client.end || server.at + (server.end?.after ?? 0) <= client.at + client.end.after + skew)
  );
}

// Bar is a hop on a time axis: percentages of its length.
export interface Bar {
  left: number;
  wait: number; // until the response's head
  body: number; // from there to the end
}

// barsOf places hops on one axis, and returns how long the axis is.
export function barsOf(hops: Row[]): { bars: Bar[]; length: number } {
  const from = Math.min(...hops.map((h) => h.at));
  const spanOf = (h: Row) => h.end?.after ?? h.response?.after ?? 0;
  const length = Math.max(...hops.map((h) => h.at - from + spanOf(h)), 0.001);
  const share = (ms: number) => (100 * ms) / length;
  const bars = hops.map((h) => {
    const wait = Math.min(h.response?.after ?? spanOf(h), spanOf(h));
    return { left: share(h.at - from), wait: share(wait), body: share(spanOf(h) - wait) };
  });
  return { bars, length };
}
