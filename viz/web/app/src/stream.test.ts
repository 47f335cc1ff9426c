import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryAfter, searchOf, staleAfter } from './stream';

test('a value may be older when values come rarely', () => {
  assert.deepEqual([0, 5_000, 60_000].map(staleAfter), [20_000, 20_000, 150_000]);
});

test('attempts get rarer, up to a bound', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 50].map(retryAfter), [1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
});

test('empty parameters are left out of the question', () => {
  assert.equal(searchOf('overview', { namespace: '', window: undefined, name: 'a&b' }), 'page=overview&name=a%26b');
});
