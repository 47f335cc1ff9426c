import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pathsOf } from './Sparkline';

test('a line has gaps where values are missing, and stays in its box', () => {
  assert.deepEqual(pathsOf([0, 5, null, 10, 20], 10, 8, 12), {
    line: 'M0.0 11.0L2.0 6.0M6.0 1.0L8.0 1.0',
    area: 'M0.0 11.0L2.0 6.0L2.0 12L0.0 12ZM6.0 1.0L8.0 1.0L8.0 12L6.0 12Z',
  });
  assert.deepEqual(pathsOf([], 0, 8, 12), { line: '', area: '' });
  assert.equal(pathsOf([0.9, 1], 1, 8, 12, 0.9).line, 'M0.0 11.0L8.0 1.0');
  assert.equal(pathsOf([0, 0], 0, 8, 12).line, 'M0.0 11.0L8.0 11.0');
});
