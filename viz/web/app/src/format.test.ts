import assert from 'node:assert/strict';
import { test } from 'node:test';
import { last, latency, middle, percent, plural, rate } from './format';

test('numbers have the units and the precision of the commands', () => {
  assert.deepEqual([null, 0, 0.5, 0.999999, 1].map(percent), ['–', '0.00%', '50.00%', '99.99%', '100.00%']);
  assert.deepEqual([0, 0.01, 2, 12345.6].map(rate), ['0', '<0.1', '2.0', '12,346']);
  assert.deepEqual([null, 0, 45, 1200, 12_345].map(latency), ['–', '0 ms', '45 ms', '1,200 ms', '12.3 s']);
  assert.deepEqual([plural(1, 'pod'), plural(1200, 'pod')], ['1 pod', '1,200 pods']);
});

test('a time window is said in words', () => {
  assert.deepEqual(['1m', '10m', '1h', '6h', '15s', '1m30s'].map(last), ['minute', '10 minutes', 'hour', '6 hours', '15 seconds', '1m30s']);
});

test('a long name is shortened in its middle, by letters and not by code units', () => {
  assert.equal(middle('web', 10), 'web');
  assert.equal(middle('web-7d9f8c6b5-abcde', 11), 'web-7…abcde');
  assert.equal(middle('😀'.repeat(12), 5), '😀😀…😀😀');
});
