import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linkTo, pathOf, withParams } from './link';

test('an address holds only what differs from the defaults', () => {
  const cases: [string, Record<string, string | null>, string][] = [
    ['/topology?namespace=shop', { window: '5m' }, '/topology?namespace=shop&window=5m'],
    ['/topology?namespace=shop&window=5m', { window: '1m' }, '/topology?namespace=shop'],
    ['/topology?namespace=shop', { namespace: '' }, '/topology'],
    ['/tap?path=/a?b', { method: 'GET' }, '/tap?path=%2Fa%3Fb&method=GET'],
    ['/tap?path=%2Fa%3Fb', { method: 'GET' }, '/tap?path=%2Fa%3Fb&method=GET'],
  ];
  for (const [address, changes, want] of cases) assert.equal(withParams(address, changes), want);
});

test('a link to another page keeps the namespace and the window, and no filter', () => {
  const query = { namespace: 'shop', window: '5m', path: '/books' };
  assert.equal(linkTo('/tap', query), '/tap?namespace=shop&window=5m');
  assert.equal(linkTo('/topology?namespace=a', query, { namespace: 'data' }), '/topology?namespace=data&window=5m');
});

test('names from the cluster are escaped in paths', () => {
  assert.equal(pathOf({ kind: 'deployment', namespace: 'shop', name: 'a/b?c' }), '/workload/shop/deployment/a%2Fb%3Fc');
  assert.equal(pathOf({ kind: 'server', namespace: 'shop', name: 'web' }), null);
});
