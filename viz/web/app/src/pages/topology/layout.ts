// Where nodes are. Each namespace is a box with a layout of its own, and the boxes have one too, so that they never
// overlap and one large namespace does not slow the others down.
import { Graph, layout as dagre } from './dagre';
import { boxHead, gapY, gridGap, nodeHeight, nodeWidth, padding, type Layout, type Point, type Task } from './grid';

// gapOf is how far columns are apart: edges run there, and in a small graph their texts are there too.
const gapOf = (task: Task) => (task.roomy ? 132 : task.edges.length > 40 ? 64 : 84);

interface Part {
  name: string;
  width: number;
  height: number;
  nodes: [string, Point][]; // relative to the part
}

// arrange returns a layout. The same task always has the same.
export function arrange(task: Task): Layout {
  const members = new Map<string, string[]>();
  const boxOf = new Map<string, string>();
  for (const n of task.nodes) {
    const box = n.box === '' ? `\0${n.id}` : n.box;
    boxOf.set(n.id, box);
    members.set(box, [...(members.get(box) ?? []), n.id]);
  }
  const parts = new Map<string, Part>();
  for (const [name, ids] of members) {
    const inside = task.edges.filter((e) => e.from !== e.to && boxOf.get(e.from) === name && boxOf.get(e.to) === name);
    parts.set(name, name.startsWith('\0') ? lone(name, ids[0]!) : box(name, ids, inside, members.size < 4 ? 0.8 * task.aspect : 1.2, gapOf(task)));
  }
  return assemble(parts, task, boxOf);
}

function lone(name: string, id: string): Part {
  return { name, width: nodeWidth, height: nodeHeight, nodes: [[id, { x: nodeWidth / 2, y: nodeHeight / 2 }]] };
}

// box lays out one namespace: who calls is left of whom it calls, and those without calls in the box are below.
function box(name: string, ids: string[], edges: Task['edges'], aspect: number, gapX: number): Part {
  const connected = new Set(edges.flatMap((e) => [e.from, e.to]));
  const calling = ids.filter((id) => connected.has(id));
  const alone = ids.filter((id) => !connected.has(id));
  const nodes: [string, Point][] = [];
  let width = 0;
  let height = 0;
  if (calling.length > 0) {
    const columns = fold(ranks(calling, edges), aspect, gapX);
    const most = Math.max(...columns.map((c) => c.length));
    columns.forEach((column, i) => {
      const top = ((most - column.length) * (nodeHeight + gapY)) / 2;
      column.forEach((id, j) => nodes.push([id, {
        x: i * (nodeWidth + gapX) + nodeWidth / 2, y: top + j * (nodeHeight + gapY) + nodeHeight / 2,
      }]));
    });
    width = columns.length * (nodeWidth + gapX) - gapX;
    height = most * (nodeHeight + gapY) - gapY;
  }
  if (alone.length > 0) {
    const across = Math.max(1, Math.floor((width + gridGap) / (nodeWidth + gridGap)), Math.ceil(Math.sqrt(
      (alone.length * aspect * (nodeHeight + gapY)) / (nodeWidth + gridGap))));
    const top = height === 0 ? 0 : height + gapY;
    alone.forEach((id, i) => nodes.push([id, {
      x: (i % across) * (nodeWidth + gridGap) + nodeWidth / 2,
      y: top + Math.floor(i / across) * (nodeHeight + gapY) + nodeHeight / 2,
    }]));
    width = Math.max(width, Math.min(across, alone.length) * (nodeWidth + gridGap) - gridGap);
    height = top + Math.ceil(alone.length / across) * (nodeHeight + gapY) - gapY;
  }
  return {
    name, width: width + 2 * padding, height: height + 2 * padding + boxHead,
    nodes: nodes.map(([id, p]) => [id, { x: p.x + padding, y: p.y + padding + boxHead }]),
  };
}

// ranks returns the columns that dagre makes, each from top to bottom.
function ranks(ids: string[], edges: Task['edges']): string[][] {
  const g = new Graph();
  g.setGraph({ rankdir: 'LR', nodesep: gapY, ranksep: 60, acyclicer: 'greedy',
    ranker: ids.length > 60 ? 'tight-tree' : 'network-simplex' });
  g.setDefaultEdgeLabel(() => ({}));
  for (const id of ids) g.setNode(id, { width: nodeWidth, height: nodeHeight });
  for (const e of edges) g.setEdge(e.from, e.to);
  dagre(g);
  const columns = new Map<number, string[]>();
  const at = (id: string) => g.node(id) as unknown as Point;
  for (const id of [...ids].sort((a, b) => at(a).y - at(b).y)) {
    const x = Math.round(at(id).x);
    columns.set(x, [...(columns.get(x) ?? []), id]);
  }
  return [...columns].sort(([a], [b]) => a - b).map(([, column]) => column);
}

// mostColumns is how deep a graph may be before columns are joined.
const mostColumns = 7;

// fold splits long columns, and joins short ones of a deep graph, so that the whole gets about the aspect.
export function fold(columns: string[][], aspect: number, gapX: number): string[][] {
  const all = columns.reduce((n, c) => n + c.length, 0);
  let best = columns;
  let badness = Infinity;
  for (let rows = 4; rows <= Math.max(4, all); rows++) {
    const folded = split(columns.length > mostColumns ? joined(columns, rows) : columns, rows);
    const most = Math.max(...folded.map((c) => c.length));
    const is = (folded.length * (nodeWidth + gapX)) / (most * (nodeHeight + gapY));
    const bad = Math.abs(Math.log(is / aspect));
    if (bad < badness) [best, badness] = [folded, bad];
  }
  return best;
}

function split(columns: string[][], rows: number): string[][] {
  return columns.flatMap((column) => {
    const each = Math.ceil(column.length / Math.ceil(column.length / rows));
    return Array.from({ length: Math.ceil(column.length / each) }, (_, i) => column.slice(i * each, (i + 1) * each));
  });
}

function joined(columns: string[][], rows: number): string[][] {
  const out: string[][] = [];
  for (const column of columns) {
    const last = out[out.length - 1];
    if (last && last.length + column.length <= rows) last.push(...column);
    else out.push([...column]);
  }
  return out;
}

// assemble lays out the parts, from left to right or from top to bottom: what can be seen larger.
function assemble(parts: Map<string, Part>, task: Task, boxOf: Map<string, string>): Layout {
  const names = [...parts.keys()];
  const between = new Map<string, number>();
  for (const e of task.edges) {
    const [from, to] = [boxOf.get(e.from), boxOf.get(e.to)];
    if (from === undefined || to === undefined || from === to) continue;
    const key = JSON.stringify([from, to]);
    between.set(key, (between.get(key) ?? 0) + 1);
  }
  let best: { at: Map<string, Point>; scale: number } | undefined;
  const consider = (at: Map<string, Point>, handicap: number) => {
    const { width, height } = extent(at, parts);
    const scale = Math.min(1, Math.min(task.aspect / width, 1 / height) * 600) / handicap;
    if (!best || scale > best.scale) best = { at, scale };
  };
  const boxes = names.some((name) => !name.startsWith('\0'));
  let order = names;
  for (const rankdir of ['LR', 'TB']) {
    const g = new Graph();
    g.setGraph({ rankdir, nodesep: boxes || rankdir === 'TB' ? 32 : 72, ranksep: gapOf(task), acyclicer: 'greedy' });
    g.setDefaultEdgeLabel(() => ({}));
    for (const name of names) g.setNode(name, { width: parts.get(name)!.width, height: parts.get(name)!.height });
    for (const [key, weight] of between) {
      const [from, to] = JSON.parse(key) as [string, string];
      g.setEdge(from, to, { weight });
    }
    dagre(g);
    const middle = new Map(names.map((name) => [name, g.node(name) as unknown as Point]));
    if (rankdir === 'LR') order = [...names].sort((a, b) => middle.get(a)!.x - middle.get(b)!.x || middle.get(a)!.y - middle.get(b)!.y);
    consider(new Map(names.map((name) => [name, { x: middle.get(name)!.x - parts.get(name)!.width / 2,
      y: middle.get(name)!.y - parts.get(name)!.height / 2 }])), rankdir === 'LR' ? 1 : 1.15); // left to right reads best
  }
  if (boxes) for (const width of shelfWidths(parts)) consider(shelves(order, parts, width, gapOf(task)), 1.25);
  return settle(best!.at, parts);
}

function extent(at: Map<string, Point>, parts: Map<string, Part>) {
  const right = [...at].map(([name, p]) => p.x + parts.get(name)!.width);
  const bottom = [...at].map(([name, p]) => p.y + parts.get(name)!.height);
  return { width: Math.max(...right), height: Math.max(...bottom) };
}

function shelfWidths(parts: Map<string, Part>): number[] {
  const all = [...parts.values()].reduce((n, p) => n + p.width, 0);
  return [1.2, 1.6, 2, 2.5, 3, 4, 5].map((n) => all / n);
}

// shelves puts the parts in rows, as words are put in lines. Lone nodes are stacked.
function shelves(order: string[], parts: Map<string, Part>, width: number, gap: number): Map<string, Point> {
  const at = new Map<string, Point>();
  let x = 0;
  let y = 0;
  let row = 0;
  let stack: { x: number; y: number } | null = null;
  for (const name of order) {
    const part = parts.get(name)!;
    if (stack && name.startsWith('\0') && stack.y + part.height <= y + row) {
      at.set(name, { ...stack });
      stack.y += part.height + gapY;
      continue;
    }
    if (x > 0 && x + part.width > width) {
      y += row + 40;
      x = row = 0;
    }
    at.set(name, { x, y });
    stack = name.startsWith('\0') ? { x, y: y + part.height + gapY } : null;
    row = Math.max(row, part.height);
    x += part.width + gap;
  }
  return at;
}

// settle returns the layout of parts that are in their places.
function settle(at: Map<string, Point>, parts: Map<string, Part>): Layout {
  const out: Layout = { nodes: {}, boxes: [], ...extent(at, parts) };
  for (const [name, part] of parts) {
    const x = Math.round(at.get(name)!.x);
    const y = Math.round(at.get(name)!.y);
    for (const [id, p] of part.nodes) out.nodes[id] = { x: x + p.x, y: y + p.y };
    if (!name.startsWith('\0')) out.boxes.push({ name, x, y, width: part.width, height: part.height });
  }
  return out;
}
