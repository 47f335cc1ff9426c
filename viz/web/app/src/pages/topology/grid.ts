// The sizes of what is drawn, and where new nodes go in a layout that is there already.
export const nodeWidth = 200;
export const nodeHeight = 56;

export const gapY = 18;
export const padding = 20;
export const gridGap = 24; // between nodes without edges in their box
export const boxHead = 32; // for the namespace's name

export interface Point {
  x: number; // of a node its middle
  y: number;
}

export interface Box {
  name: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Task {
  nodes: { id: string; box: string }[]; // box is "" for a node in none
  edges: { from: string; to: string }[];
  aspect: number; // width by height of what can be seen
  roomy: boolean; // whether edges have texts
}

export interface Layout {
  nodes: Record<string, Point>;
  boxes: Box[];
  width: number;
  height: number;
}

// place returns the layout with new nodes where there is room, and without those that are gone. What stays does not
// move. It returns null if the layout has to be made again: for a new namespace, or when most nodes are new.
export function place(old: Layout, task: Task): Layout | null {
  const fresh = task.nodes.filter((n) => !old.nodes[n.id]);
  const kept = task.nodes.filter((n) => old.nodes[n.id]);
  if (fresh.length > kept.length || fresh.some((n) => n.box !== '' && !old.boxes.some((b) => b.name === n.box))) return null;
  const out: Layout = { ...old, nodes: {}, boxes: old.boxes.map((b) => ({ ...b })) };
  for (const n of kept) out.nodes[n.id] = old.nodes[n.id]!;
  for (const n of fresh) {
    const at = n.box === '' ? outside(out, old) : below(out, out.boxes.find((b) => b.name === n.box)!, old);
    if (!at) return null;
    out.nodes[n.id] = at;
    out.width = Math.max(out.width, at.x + nodeWidth / 2 + padding);
    out.height = Math.max(out.height, at.y + nodeHeight / 2 + padding);
  }
  return out;
}

// below returns room in the box: on its grid, or below it if nothing is there.
function below(layout: Layout, box: Box, old: Layout): Point | null {
  const taken = Object.values({ ...old.nodes, ...layout.nodes });
  const left = box.x + padding + nodeWidth / 2;
  const top = box.y + padding + boxHead + nodeHeight / 2;
  for (let y = top; ; y += nodeHeight + gapY) {
    const bottom = y + nodeHeight / 2 + padding;
    if (bottom > box.y + box.height) {
      const wall = layout.boxes.some((b) => b !== box && b.x < box.x + box.width && box.x < b.x + b.width &&
        b.y >= box.y + box.height && b.y < bottom + gapY);
      const node = taken.some((p) => Math.abs(p.x - box.x - box.width / 2) < (box.width + nodeWidth) / 2 &&
        p.y > box.y + box.height && p.y - nodeHeight / 2 < bottom + gapY);
      if (wall || node) return null;
      box.height = bottom - box.y;
    }
    for (let x = left; x + nodeWidth / 2 + padding <= box.x + box.width + 1; x += nodeWidth + gridGap) {
      if (!taken.some((p) => Math.abs(p.x - x) < nodeWidth + 8 && Math.abs(p.y - y) < nodeHeight + 8)) return { x, y };
    }
  }
}

// outside returns room below everything.
function outside(layout: Layout, old: Layout): Point {
  const taken = Object.values({ ...old.nodes, ...layout.nodes });
  const bottoms = layout.boxes.map((b) => b.y + b.height);
  const y = Math.max(0, ...taken.map((p) => p.y + nodeHeight / 2), ...bottoms) + gapY + nodeHeight / 2;
  return { x: nodeWidth / 2, y };
}
