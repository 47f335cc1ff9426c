import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackendRow, RouteRow } from '../../api';
import { serviceOf, sharesOf, splitsOf } from './shares';

const backend = (service: string, rps: number, share: number | null, expected: number | null): BackendRow => ({ namespace: 'shop', service,
  port: '80', success: rps > 0 ? 1 : null, rps, p50: null, p95: null, p99: null, timeouts: null, share, expected, invalid: '' });

const row = (...backends: BackendRow[]): RouteRow => ({ namespace: 'shop', service: 'api', port: '80', route: 'split', kind: 'HTTPRoute',
  success: 1, rps: 1, p50: null, p95: null, p99: null, actual: null, retries: null, timeouts: null, backends, command: '' });

test('a Service has its namespace only where it is another one', () => {
  assert.equal(serviceOf({ namespace: 'shop', service: 'api', port: '80' }, 'shop'), 'api:80');
  assert.equal(serviceOf({ namespace: 'data', service: 'db', port: '' }, 'shop'), 'db.data');
});

test('what flows far from its weight is marked, unless there are few attempts', () => {
  const off = (...backends: BackendRow[]) => sharesOf(row(...backends), 'shop').map((s) => `${s.name} ${s.off}`);
  assert.deepEqual(off(backend('v2', 5, 0.5, 0.1), backend('v1', 5, 0.5, 0.9)), ['v1 true', 'v2 true']);
  assert.deepEqual(off(backend('v1', 8.8, 0.88, 0.9), backend('v2', 1.2, 0.12, 0.1)), ['v1 false', 'v2 false']);
  assert.deepEqual(off(backend('v1', 0.1, 0.5, 0.9), backend('v2', 0.1, 0.5, 0.1)), ['v1 false', 'v2 false']);
  assert.deepEqual(off(backend('v1', 0, null, 0.9), backend('v2', 0, null, 0.1)), ['v1 false', 'v2 false']);
});

test('backends of one Service differ by their ports', () => {
  const backends = [backend('v1', 1, 0.5, 0.5), { ...backend('v1', 1, 0.5, 0.5), port: '81' }, backend('v2', 0, null, 0)];
  assert.deepEqual(sharesOf(row(...backends), 'shop').map((s) => s.name), ['v1:80', 'v1:81', 'v2']);
});

test('a route with one backend is no split', () => {
  assert.equal(splitsOf([row(backend('v1', 1, 1, null)), row(backend('v1', 1, 1, 1), backend('v2', 0, null, 0))]).length, 1);
});
