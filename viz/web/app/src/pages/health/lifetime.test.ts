import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lifetimeOf } from './lifetime';

test('a certificate is valid between its begin and its end only', () => {
  const day = 86_400_000;
  const say = (from: number, to: number, now: number) => {
    const { word, left, spent } = lifetimeOf(from * day, to * day, now * day);
    return `${word}, ${left}, ${Math.round(spent)}%`;
  };
  assert.equal(say(0, 400, 100), 'Valid, 300 d left, 25%');
  assert.equal(say(0, 100, 90), 'Ends soon, 10 d left, 90%');
  assert.equal(say(0, 100, 95), 'Ends very soon, 5 d left, 95%');
  assert.equal(say(0, 100, 110), 'Expired, ended 10 d ago, 100%');
  assert.equal(say(10, 100, 5), 'Not valid yet, begins in 5 d, 0%');
  assert.equal(say(10, 10, 10), 'Expired, ended just now, 100%');
  assert.equal(say(10, 5, 20), 'Expired, ended 15 d ago, 100%');
});
