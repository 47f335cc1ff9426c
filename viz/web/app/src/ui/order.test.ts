import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareValues, orderOf, pressed, withOrder } from './order';

test('the order of each table is in the address', () => {
  let text = withOrder(undefined, 'pods', pressed(null, 'name'));
  text = withOrder(text, 'callers', pressed(pressed(null, 'rps'), 'rps'));
  assert.equal(text, 'pods.name,callers.-rps');
  assert.deepEqual(orderOf(text, 'pods'), { key: 'name', reversed: false });
  assert.deepEqual(orderOf(text, 'callers'), { key: 'rps', reversed: true });
  assert.equal(orderOf(text, 'routes'), null);
  assert.equal(withOrder(text, 'pods', pressed(pressed(orderOf(text, 'pods'), 'name'), 'name')), 'callers.-rps');
});

test('what is no number comes last, such as the port of clients beyond a bound', () => {
  assert.deepEqual([NaN, 80, Infinity, 8, NaN, 443].sort(compareValues), [8, 80, 443, NaN, Infinity, NaN]);
  assert.deepEqual(['b', 'a'].sort(compareValues), ['a', 'b']);
});

test('a broken order is none', () => {
  for (const text of [undefined, '', ',', 'pods', '.', '%', '<img>']) assert.equal(orderOf(text, 'pods'), null);
  assert.deepEqual(orderOf('pods.', 'pods'), { key: '', reversed: false });
});
