// Where the texts of edges are, so that none covers a node or another text.
import type { Route } from './geometry';
import { nodeHeight, nodeWidth, type Point } from './grid';

export interface Wish {
  id: string;
  route: Route;
  rps: number;
  signs: number; // how many
  text: string;
  wanted: boolean; // whether the text is to be shown; signs are in any case, if there is room
  must: boolean; // even if there is no room
}

export interface Label extends Point {
  text: string; // "" for signs only
}

export interface Size {
  width: number;
  height: number;
}

const letter = 6.1;
const sign = 18;

// labelSize returns how large a label is: signs and the first part of the text, and the rest below.
export function labelSize(text: string, signs: number): Size {
  if (text === '') return { width: signs * sign + 4, height: 22 };
  const [first = '', ...rest] = text.split(' · ');
  const second = rest.join(' · ');
  return { width: Math.round(Math.max(first.length * letter + signs * sign, second.length * letter)) + 12, height: second ? 36 : 21 };
}

// The parts of an edge at which its label may be, best first.
const places = [0.5, 0.38, 0.62, 0.27, 0.73, 0.17, 0.83];

interface Rect extends Point, Size {}

// placeLabels returns the labels that have room. The busiest edges choose first.
export function placeLabels(nodes: Record<string, Point>, wishes: Wish[]): Map<string, Label> {
  const cards = Object.values(nodes).map((p) => ({ ...p, width: nodeWidth, height: nodeHeight }));
  const taken: Rect[] = [];
  const out = new Map<string, Label>();
  const put = (w: Wish, text: string, must: boolean): boolean => {
    const size = labelSize(text, w.signs);
    const free = places.map(w.route.at).find((p) =>
      !overlaps({ ...p, ...size }, cards, 2) && !overlaps({ ...p, ...size }, taken, 3));
    const at = free ?? (must ? w.route.at(0.5) : undefined);
    if (!at) return false;
    out.set(w.id, { ...at, text });
    taken.push({ ...at, ...size });
    return true;
  };
  const order = [...wishes].sort((a, b) => Number(b.must) - Number(a.must) || b.signs - a.signs || b.rps - a.rps ||
    a.id.localeCompare(b.id));
  for (const w of order) {
    if (!((w.wanted || w.must) && put(w, w.text, w.must)) && w.signs > 0) put(w, '', false);
  }
  return out;
}

function overlaps(a: Rect, others: Rect[], gap: number): boolean {
  return others.some((b) => Math.abs(a.x - b.x) < (a.width + b.width) / 2 + gap && Math.abs(a.y - b.y) < (a.height + b.height) / 2 + gap);
}
