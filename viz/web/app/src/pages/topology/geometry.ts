// How edges run between nodes, and how the picture is moved.
import { nodeHeight, nodeWidth, type Layout, type Point } from './grid';

export interface Route {
  d: string;
  at: (part: number) => Point; // from 0 to 1
}

// route returns the curve from a to b. apart moves it aside, for edges that have one back.
export function route(a: Point, b: Point, apart: boolean): Route {
  const dx = b.x - a.x;
  const dy = b.y - a.y;
  const aside = apart ? 7 : 0;
  if (dx === 0 && dy === 0) {
    const x = a.x + nodeWidth / 4;
    const y = a.y - nodeHeight / 2;
    return curve({ x: x + 18, y }, { x: x + 18, y: y - 26 }, { x: x - 18, y: y - 26 }, { x: x - 18, y });
  }
  if (Math.abs(dx) >= nodeWidth + 16) {
    const sign = Math.sign(dx);
    const from = { x: a.x + (sign * nodeWidth) / 2, y: a.y - sign * aside };
    const to = { x: b.x - (sign * nodeWidth) / 2, y: b.y - sign * aside };
    const bend = Math.max(32, Math.abs(to.x - from.x) / 2);
    return curve(from, { x: from.x + sign * bend, y: from.y }, { x: to.x - sign * bend, y: to.y }, to);
  }
  const sign = Math.sign(dy) || 1;
  if (Math.abs(dy) > 2 * nodeHeight && Math.abs(dx) < nodeWidth / 2) { // other nodes of the column are between
    const from = { x: a.x + (sign * nodeWidth) / 2, y: a.y };
    const to = { x: b.x + (sign * nodeWidth) / 2, y: b.y };
    return curve(from, { x: from.x + sign * 56, y: from.y }, { x: to.x + sign * 56, y: to.y }, to);
  }
  const from = { x: a.x + sign * aside, y: a.y + (sign * nodeHeight) / 2 };
  const to = { x: b.x + sign * aside, y: b.y - (sign * nodeHeight) / 2 };
  const bend = Math.max(8, Math.abs(to.y - from.y) / 2);
  return curve(from, { x: from.x, y: from.y + sign * bend }, { x: to.x, y: to.y - sign * bend }, to);
}

function curve(a: Point, b: Point, c: Point, d: Point): Route {
  const text = (p: Point) => `${Math.round(p.x)} ${Math.round(p.y)}`;
  return {
    d: `M${text(a)}C${text(b)} ${text(c)} ${text(d)}`,
    at: (t) => {
      const u = 1 - t;
      const along = (w: number, x: number, y: number, z: number) =>
        Math.round(u * u * u * w + 3 * u * u * t * x + 3 * u * t * t * y + t * t * t * z);
      return { x: along(a.x, b.x, c.x, d.x), y: along(a.y, b.y, c.y, d.y) };
    },
  };
}

// View is how the picture is moved and scaled.
export interface View {
  x: number;
  y: number;
  scale: number;
}

export const minScale = 0.12;
export const maxScale = 2;

// zoomed returns the view scaled by a factor, with the point at (x, y) of the screen kept.
export function zoomed(view: View, factor: number, x: number, y: number): View {
  const scale = Math.max(minScale, Math.min(maxScale, view.scale * factor));
  const by = scale / view.scale;
  return { scale, x: x - (x - view.x) * by, y: y - (y - view.y) * by };
}

// fitted returns the view that shows the whole layout, not larger than life. On a phone it begins with a part that can
// be read.
export function fitted(layout: Layout, width: number, height: number): View {
  const margin = 20;
  const below = 52; // for the buttons
  const scale = Math.max(width < 600 ? 0.5 : minScale,
    Math.min(1, (width - 2 * margin) / layout.width, (height - margin - below) / layout.height));
  return { scale, x: Math.max(margin, (width - layout.width * scale) / 2),
    y: Math.max(margin, Math.min((height - layout.height * scale) / 2, height - below - layout.height * scale)) };
}

// shown returns the view moved as little as it takes to show the first node, and with it all the nodes if they fit. inset
// is what the panel covers on the right.
export function shown(view: View, nodes: Point[], width: number, height: number, inset: number): View {
  const margin = 16;
  const move = (low: number, size: number, most: number) => low < margin ? margin - low
    : low + size > most - margin ? Math.max(margin - low, most - margin - low - size) : 0;
  for (const wanted of [nodes, nodes.slice(0, 1)]) {
    const r = around(wanted);
    const [w, h] = [r.width * view.scale, r.height * view.scale];
    if (wanted.length > 1 && (w > width - inset - 2 * margin || h > height - 2 * margin)) continue;
    return { ...view, x: view.x + move(r.x * view.scale + view.x, w, width - inset),
      y: view.y + move(r.y * view.scale + view.y, h, height) };
  }
  return view;
}

// around returns the smallest rectangle with all the nodes in it.
export function around(nodes: Point[]): { x: number; y: number; width: number; height: number } {
  const [left, top] = [Math.min(...nodes.map((p) => p.x)), Math.min(...nodes.map((p) => p.y))];
  return { x: left - nodeWidth / 2, y: top - nodeHeight / 2, width: Math.max(...nodes.map((p) => p.x)) - left + nodeWidth,
    height: Math.max(...nodes.map((p) => p.y)) - top + nodeHeight };
}

// Level is how much of a node can be read at a scale.
export type Level = 'near' | 'middle' | 'small' | 'far';

export function levelOf(scale: number): Level {
  return scale >= 0.72 ? 'near' : scale >= 0.46 ? 'middle' : scale >= 0.24 ? 'small' : 'far';
}

// nearest returns the ID of the node that is next in a direction, or undefined.
export function nearest(nodes: Record<string, Point>, from: string, key: string): string | undefined {
  const a = nodes[from];
  if (!a) return undefined;
  let best: string | undefined;
  let least = Infinity;
  for (const [id, p] of Object.entries(nodes)) {
    const dx = p.x - a.x;
    const dy = p.y - a.y;
    const [ahead, beside] = key === 'ArrowRight' ? [dx, dy] : key === 'ArrowLeft' ? [-dx, dy] : key === 'ArrowDown' ? [dy, dx] : [-dy, dx];
    if (id === from || ahead <= 0 || Math.abs(beside) > 2.5 * ahead) continue; // beside more than ahead
    const cost = ahead + 2.5 * Math.abs(beside);
    if (cost < least) [best, least] = [id, cost];
  }
  return best;
}
