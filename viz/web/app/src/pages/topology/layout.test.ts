import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeHeight, nodeWidth, place, type Layout, type Task } from './grid';
import { arrange, fold } from './layout';

function task(nodes: Record<string, string>, edges: string[]): Task {
  return {
    nodes: Object.entries(nodes).map(([id, box]) => ({ id, box })),
    edges: edges.map((e) => ({ from: e.split('>')[0]!, to: e.split('>')[1]! })), aspect: 2, roomy: true,
  };
}

const shop = task({ web: 'shop', api: 'shop', idle: 'shop', db: 'data', clients: '' }, ['clients>web', 'web>api', 'api>db', 'web>web']);

function assertApart(layout: Layout) {
  const all = Object.entries(layout.nodes);
  for (const [a, p] of all) {
    for (const [b, q] of all) {
      assert.ok(a === b || Math.abs(p.x - q.x) >= nodeWidth || Math.abs(p.y - q.y) >= nodeHeight, `${a} covers ${b}`);
    }
  }
  for (const a of layout.boxes) {
    for (const b of layout.boxes) {
      assert.ok(a === b || a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y,
        `box ${a.name} covers ${b.name}`);
    }
  }
}

test('callers are left of whom they call, and nothing covers anything', () => {
  const layout = arrange(shop);
  assert.ok(layout.nodes.clients!.x < layout.nodes.web!.x);
  assert.ok(layout.nodes.web!.x < layout.nodes.api!.x);
  assert.deepEqual(layout.boxes.map((b) => b.name), ['shop', 'data']);
  assertApart(layout);
});

test('the same task always has the same layout', () => {
  assert.deepEqual(arrange(shop), arrange(shop));
});

test('a hundred workloads in a chain and a hundred without calls are folded', () => {
  const names = Array.from({ length: 100 }, (_, i) => `n${i}`);
  for (const edges of [names.slice(1).map((n, i) => `n${i}>${n}`), [], names.slice(1).map((n) => `n0>${n}`)]) {
    const layout = arrange({ ...task(Object.fromEntries(names.map((n) => [n, 'big'])), edges), roomy: false });
    const ratio = layout.width / layout.height;
    assert.ok(ratio > 0.8 && ratio < 4, `width by height ${ratio}`);
    assertApart(layout);
  }
});

test('short columns stay apart', () => {
  assert.deepEqual(fold([['a'], ['b'], ['c']], 2, 60), [['a'], ['b'], ['c']]);
});

test('new nodes find room, and the others do not move', () => {
  const old = arrange(shop);
  const more = task({ web: 'shop', api: 'shop', idle: 'shop', db: 'data', clients: '', cart: 'shop', out: '' }, ['web>cart', 'cart>out']);
  const layout = place(old, more)!;
  for (const [id, p] of Object.entries(old.nodes)) assert.deepEqual(layout.nodes[id], p);
  assert.ok(layout.nodes.cart && layout.nodes.out);
  assertApart(layout);
  const box = layout.boxes.find((b) => b.name === 'shop')!;
  assert.ok(layout.nodes.cart!.y + nodeHeight / 2 <= box.y + box.height);
});

test('a new namespace, or mostly new nodes, make the layout again', () => {
  const old = arrange(shop);
  assert.equal(place(old, task({ web: 'shop', other: 'new' }, [])), null);
  assert.equal(place(old, task({ web: 'shop', a: 'shop', b: 'shop' }, [])), null);
});
