import { useEffect, useRef } from 'preact/hooks';
import type { RefObject } from 'preact';
import { fitted, levelOf, shown, zoomed, type View } from './geometry';
import type { Layout, Point } from './grid';

// The views of the scopes that were open.
const known = new Map<string, View>();

export interface Mover {
  zoom: (factor: number) => void;
  pan: (dx: number, dy: number) => void;
  fit: () => void;
  show: (nodes: Point[], inset: number) => void; // the first, and the others if they fit
}

// useView moves and scales the picture, by wheel, pinch and drag. It changes the SVG itself: a redraw of the graph for
// each step would be slow. onClick is called for a press that was not a drag.
export function useView(svg: RefObject<SVGSVGElement | null>, world: RefObject<SVGGElement | null>, layout: Layout | null,
  scope: string, made: number, onClick: (target: Element) => void): Mover {
  const view = useRef<View>({ x: 0, y: 0, scale: 1 });
  const click = useRef(onClick);
  click.current = onClick;
  const place = useRef(layout);
  place.current = layout;

  const apply = (next: View) => {
    view.current = next;
    known.set(scope, next);
    world.current?.setAttribute('transform', `translate(${next.x} ${next.y}) scale(${next.scale})`);
    svg.current?.setAttribute('data-level', levelOf(next.scale));
  };
  const size = () => svg.current?.getBoundingClientRect() ?? new DOMRect();
  const fit = () => {
    const { width, height } = size();
    if (place.current && width > 0) apply(fitted(place.current, width, height));
  };

  const seen = useRef('');
  useEffect(() => {
    if (!layout) return;
    const now = `${scope} ${made}`;
    if (seen.current === now) return;
    const kept = seen.current === '' ? known.get(scope) : undefined;
    seen.current = now;
    if (kept) apply(kept);
    else fit();
  }, [layout, scope, made]);

  const latest = useRef({ apply });
  latest.current = { apply };
  useEffect(() => {
    const element = svg.current;
    if (!element) return;
    return gestures(element, () => view.current, (next) => latest.current.apply(next), (target) => click.current(target));
  }, [layout === null]);

  const centre = () => ({ x: size().width / 2, y: size().height / 2 });
  return {
    zoom: (factor) => apply(zoomed(view.current, factor, centre().x, centre().y)),
    pan: (dx, dy) => apply({ ...view.current, x: view.current.x + dx, y: view.current.y + dy }),
    fit,
    show: (nodes, inset) => apply(shown(view.current, nodes, size().width, size().height, inset)),
  };
}

// gestures listens to wheel, pinch and drag until its result is called.
function gestures(svg: SVGSVGElement, view: () => View, apply: (view: View) => void, click: (target: Element) => void) {
  const fingers = new Map<number, Point>();
  let moved = 0;
  let start: Element | null = null;

  const local = (e: MouseEvent): Point => {
    const r = svg.getBoundingClientRect();
    return { x: e.clientX - r.left, y: e.clientY - r.top };
  };
  const wheel = (e: WheelEvent) => {
    e.preventDefault();
    const step = e.deltaY * (e.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1) * (e.ctrlKey ? 5 : 1);
    const at = local(e);
    apply(zoomed(view(), Math.exp(-Math.max(-240, Math.min(240, step)) / 500), at.x, at.y));
  };
  const down = (e: PointerEvent) => {
    if (e.button !== 0) return;
    fingers.set(e.pointerId, local(e));
    if (fingers.size === 1) {
      moved = 0;
      start = e.target as Element;
    }
  };
  const move = (e: PointerEvent) => {
    const before = fingers.get(e.pointerId);
    if (!before) return;
    const now = local(e);
    const others = [...fingers].filter(([id]) => id !== e.pointerId).map(([, p]) => p);
    fingers.set(e.pointerId, now);
    moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (moved < 4) return;
    if (!svg.hasPointerCapture(e.pointerId)) svg.setPointerCapture(e.pointerId);
    svg.classList.add('moving');
    const other = others[0];
    if (!other) return apply({ ...view(), x: view().x + now.x - before.x, y: view().y + now.y - before.y });
    const ratio = Math.hypot(now.x - other.x, now.y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
    apply(zoomed(view(), ratio, (now.x + other.x) / 2, (now.y + other.y) / 2));
  };
  const up = (e: PointerEvent) => {
    if (!fingers.delete(e.pointerId)) return;
    svg.classList.remove('moving');
    if (e.type === 'pointerup' && moved < 4 && fingers.size === 0 && start) click(start);
    if (fingers.size === 0) start = null;
  };
  svg.addEventListener('wheel', wheel, { passive: false });
  svg.addEventListener('pointerdown', down);
  svg.addEventListener('pointermove', move);
  svg.addEventListener('pointerup', up);
  svg.addEventListener('pointercancel', up);
  return () => {
    svg.removeEventListener('wheel', wheel);
    svg.removeEventListener('pointerdown', down);
    svg.removeEventListener('pointermove', move);
    svg.removeEventListener('pointerup', up);
    svg.removeEventListener('pointercancel', up);
  };
}
