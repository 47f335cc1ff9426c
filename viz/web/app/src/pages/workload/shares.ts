// What the page says about routes.
import type { BackendRow, RouteRow } from '../../api';

// serviceOf writes a port of a Service; the namespace only if it is not the page's own.
export function serviceOf(r: Pick<RouteRow, 'namespace' | 'service' | 'port'>, own: string): string {
  return `${r.service}${r.namespace === '' || r.namespace === own ? '' : `.${r.namespace}`}${r.port === '' ? '' : `:${r.port}`}`;
}

// splitsOf returns the rows with several backends, or with an invalid one.
export function splitsOf(rows: RouteRow[]): RouteRow[] {
  return rows.filter((r) => r.backends.length > 1 || r.backends.some((b) => b.invalid !== ''));
}

export interface Share {
  name: string;
  share: number | null;
  expected: number | null;
  success: number | null;
  invalid: string;
  off: boolean; // whether the observed share is far from the expected one
}

// Below this rate of attempts, chance alone spreads shares widely.
const few = 0.5;
// far is the largest difference between the observed and the expected share that is not marked.
const far = 0.1;

// sharesOf returns the backends of a route, the largest expected share first. A split that differs is marked, but
// not for a few attempts, and not while nothing flows.
export function sharesOf(row: RouteRow, own: string): Share[] {
  const attempts = row.backends.reduce((sum, b) => sum + b.rps, 0);
  const one = (b: BackendRow) => row.backends.filter((o) => o.namespace === b.namespace && o.service === b.service).length === 1;
  const size = (b: BackendRow) => b.expected ?? b.share ?? 0;
  return [...row.backends].sort((a, b) => size(b) - size(a) || a.service.localeCompare(b.service)).map((b) => ({
    name: serviceOf({ namespace: b.namespace, service: b.service, port: one(b) ? '' : b.port }, own), share: b.share, expected: b.expected,
    success: b.success, invalid: b.invalid,
    off: attempts >= few && b.expected !== null && Math.abs((b.share ?? 0) - b.expected) > far,
  }));
}
