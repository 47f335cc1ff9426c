import assert from 'node:assert/strict';
import { test } from 'node:test';
import { earliest, endOf } from './certificate';

test('the end of a certificate is told from the time of the page', () => {
  const now = '2026-11-30T22:00:00Z';
  const of = (end: string) => {
    const { text, tone } = endOf(end, now);
    return `${text} ${tone}`;
  };
  assert.equal(of('2026-12-01T21:30:00Z'), 'in 23 h ok');
  assert.equal(of('2026-11-30T22:59:00Z'), 'in 59 min warning');
  assert.equal(of('2026-11-28T22:00:00Z'), 'ended 2 d ago error');
  assert.equal(of('2026-11-30T22:00:00.5Z'), 'in 0 s warning');
});

test('the earliest end is that of the first certificate to go', () => {
  assert.equal(earliest([null, '2026-12-02T00:00:00Z', '2026-12-01T00:00:00Z', null]), '2026-12-01T00:00:00Z');
  assert.equal(earliest([]), null);
});
