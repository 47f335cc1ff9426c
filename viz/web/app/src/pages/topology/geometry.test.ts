import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fitted, levelOf, maxScale, nearest, route, shown, zoomed } from './geometry';
import { placeLabels } from './labels';

test('zooming keeps the point under the pointer', () => {
  const before = { x: 10, y: 20, scale: 1 };
  const after = zoomed(before, 1.5, 300, 200);
  assert.equal(after.scale, 1.5);
  assert.equal((300 - after.x) / after.scale, (300 - before.x) / before.scale);
  assert.equal(zoomed(before, 100, 0, 0).scale, maxScale);
});

test('fitting shows the whole layout, and never larger than life', () => {
  const layout = { nodes: {}, boxes: [], width: 4000, height: 1000 };
  const view = fitted(layout, 1200, 600);
  assert.ok(view.x >= 0 && view.x + layout.width * view.scale <= 1200);
  assert.equal(fitted({ ...layout, width: 100, height: 50 }, 1200, 600).scale, 1);
  assert.equal(fitted(layout, 320, 400).scale, 0.5);
});

test('showing a node moves the picture only if the node cannot be seen', () => {
  const view = { x: 0, y: 0, scale: 1 };
  assert.deepEqual(shown(view, [{ x: 300, y: 200 }], 1200, 600, 360), view);
  const moved = shown(view, [{ x: 1000, y: 200 }], 1200, 600, 360);
  assert.ok(1000 + 100 + moved.x <= 1200 - 360);
});

test('arrows go to the next node in their direction', () => {
  const nodes = { a: { x: 0, y: 0 }, b: { x: 300, y: 10 }, c: { x: 600, y: 0 }, d: { x: 20, y: 90 } };
  assert.equal(nearest(nodes, 'a', 'ArrowRight'), 'b');
  assert.equal(nearest(nodes, 'a', 'ArrowDown'), 'd');
  assert.equal(nearest(nodes, 'c', 'ArrowRight'), undefined);
});

test('levels go from all words to shapes', () => {
  assert.deepEqual([1, 0.6, 0.3, 0.2].map(levelOf), ['near', 'middle', 'small', 'far']);
});

test('labels cover neither nodes nor each other; the busiest comes first', () => {
  const nodes = { a: { x: 0, y: 0 }, b: { x: 330, y: 0 } };
  const both = route(nodes.a, nodes.b, false);
  const wish = (id: string, rps: number) =>
    ({ id, route: both, rps, signs: 0, text: '12.0 rps · 99.00% · 38 ms', wanted: true, must: false });
  assert.deepEqual([...placeLabels(nodes, [wish('quiet', 1), wish('busy', 9)]).keys()], ['busy']);
  assert.equal(placeLabels(nodes, [{ ...wish('quiet', 1), signs: 2 }, { ...wish('busy', 9), signs: 2, must: true }]).size, 1);
});
