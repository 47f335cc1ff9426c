import assert from 'node:assert/strict';
import { test } from 'node:test';
import { againAfter } from '../../history';
import { lastOf, leastOf } from './past';

test('the last value is the last one that is known', () => {
  assert.equal(lastOf([1, 2, null]), 2);
  assert.equal(lastOf([null]), null);
  assert.equal(lastOf([1, 0]), 0);
});

test('the past is read again when there can be a new value', () => {
  assert.equal(againAfter(undefined), 15);
  assert.equal(againAfter(10), 15);
  assert.equal(againAfter(180), 180);
});

test('the axis of success rates begins at a round value below the lowest', () => {
  assert.deepEqual([[1, null], [0.96], [0.94, 1], [0.5], [0]].map(leastOf), [0.95, 0.95, 0.9, 0, 0]);
});
