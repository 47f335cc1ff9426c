import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { ComponentChildren, RefObject } from 'preact';
import type { TopologyEdge, TopologyNode, TopologyPage } from '../../api';
import { toneOf } from '../../ui/Golden';
import { lost } from '../../ui/focus';
import { Icon, type IconName } from '../../ui/Icon';
import { nearest, route } from './geometry';
import { boxOf, describe, describeNode, isIdle, isObject, isPlain, labelOf, matches, mostLabels, nameOf, shortOf, signsOf, summaryOf, briefOf, toneOfEdge, widthOf,
  withoutProxy, type Selection } from './graph';
import { placeLabels } from './labels';
import type { Layout } from './grid';
import { Legend } from './Legend';
import { BoxMark, EdgeLabel, EdgeMark, NodeMark } from './Marks';
import { useLayout } from './useLayout';
import { useView } from './useView';

export interface PictureProps {
  page: TopologyPage;
  scope: string; // a picture of another scope has a layout of its own
  selection: Selection | null;
  find: string;
  onSelect: (id: string | null) => void;
  onCollapse: (namespace: string) => void;
  panel: ComponentChildren;
}

// Picture is the graph. The table of the same page says the same in words.
export function Picture(props: PictureProps) {
  const { page, scope, selection } = props;
  const frame = useRef<HTMLDivElement>(null);
  const svg = useRef<SVGSVGElement>(null);
  const world = useRef<SVGGElement>(null);
  const [aspect, setAspect] = useState(0);
  useLayoutEffect(() => {
    const { width, height } = frame.current!.getBoundingClientRect();
    setAspect(Math.max(0.4, width / Math.max(1, height)));
  }, []);
  return (
    <div class={`graph ${selection ? 'with-panel' : ''}`} ref={frame} tabIndex={-1}>
      {aspect > 0 && <Canvas {...props} svg={svg} world={world} aspect={aspect} key={scope} page={page} />}
    </div>
  );
}

interface CanvasProps extends PictureProps {
  svg: RefObject<SVGSVGElement | null>;
  world: RefObject<SVGGElement | null>;
  aspect: number;
}

function Canvas(props: CanvasProps) {
  const { page, scope, selection, find, svg, world } = props;
  const { layout, made, patched, again } = useLayout(page, scope, props.aspect);
  const [active, setActive] = useState('');
  const press = (target: Element) => {
    const box = target.closest<SVGElement>('[data-box]')?.dataset.box;
    if (box) return props.onCollapse(box);
    const id = target.closest<SVGElement>('[data-id]')?.dataset.id ?? target.closest<SVGElement>('[data-edge]')?.dataset.edge;
    if (id) setActive(id);
    props.onSelect(id ?? null);
  };
  const mover = useView(svg, world, layout, scope, made, press);
  const inset = () => (frameOf(svg)?.clientWidth ?? 0) > 760 ? 360 : 0;
  const show = (ids: string[]) => {
    const at = ids.map((id) => layout?.nodes[id]).filter((p) => p !== undefined);
    if (at.length > 0) mover.show(at, selection ? inset() : 0);
  };

  useEffect(() => {
    const id = selection?.node?.id ?? selection?.edge?.to;
    if (id) show([id, ...selection!.nodes]);
  }, [selection?.node?.id, selection?.edge?.id, layout === null]);
  const last = useRef('');
  useLayoutEffect(() => {
    const id = selection?.node?.id ?? selection?.edge?.to ?? '';
    if (id === '' && last.current !== '' && lost()) focusNode(svg, last.current); // the details had the focus
    last.current = id;
  }, [selection]);
  const found = useMemo(() => find === '' ? null : new Set(page.nodes.filter((n) => matches(n, find)).map((n) => n.id)),
    [page, find]);
  useEffect(() => {
    const first = found?.values().next().value;
    if (first && !selection) show([first]);
  }, [find]);

  const key = useCallback((e: KeyboardEvent) => {
    const target = e.target as Element;
    const id = target.closest<SVGElement>('[data-id]')?.dataset.id;
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if ((e.key === 'Enter' || e.key === ' ') && target.closest('svg')) press(target);
    else if (e.key === '+' || e.key === '=') mover.zoom(1.25);
    else if (e.key === '-') mover.zoom(0.8);
    else if (e.key === '0') mover.fit();
    else if (e.key.startsWith('Arrow') && id && layout && !e.shiftKey) {
      const next = nearest(present(layout, page), id, e.key);
      if (next) {
        setActive(next);
        focusNode(svg, next);
        show([next]);
      }
    } else if (e.key.startsWith('Arrow')) {
      mover.pan(e.key === 'ArrowLeft' ? 60 : e.key === 'ArrowRight' ? -60 : 0,
        e.key === 'ArrowUp' ? 60 : e.key === 'ArrowDown' ? -60 : 0);
    } else return;
    e.preventDefault();
  }, [layout, page, scope]);

  const home = page.nodes.some((n) => n.id === active) ? active : selection?.node?.id ?? page.nodes[0]?.id ?? '';
  return (
    <>
      <svg ref={svg} class="canvas" role="group" tabindex={0} onKeyDown={key}
        aria-label="Graph. Tab to a node, arrows go to its neighbours, Enter shows its numbers. Plus and minus zoom, 0 shows all.">
        <Arrows />
        <g ref={world}>{layout && <World page={page} layout={layout} selection={selection} found={found} home={home} />}</g>
      </svg>
      {props.panel}
      {!layout && <p class="drawing faint" role="status">Drawing the graph…</p>}
      <div class="controls">
        <button type="button" class="icon-button" title="Zoom in (+)" aria-label="Zoom in" onClick={() => mover.zoom(1.25)}><Icon name="zoomIn" /></button>
        <button type="button" class="icon-button" title="Zoom out (-)" aria-label="Zoom out" onClick={() => mover.zoom(0.8)}><Icon name="zoomOut" /></button>
        <button type="button" class="text-button" title="Show all (0)" onClick={mover.fit}>Fit</button>
        {patched && <button type="button" class="text-button" title="Arrange the nodes again: some are new" onClick={again}>Tidy</button>}
        <Legend />
      </div>
    </>
  );
}

function focusNode(svg: RefObject<SVGSVGElement | null>, id: string) {
  svg.current?.querySelector<SVGElement>(`[data-id="${CSS.escape(id)}"]`)?.focus({ preventScroll: true });
}

function frameOf(svg: RefObject<SVGSVGElement | null>): HTMLElement | null {
  return svg.current?.parentElement ?? null;
}

function present(layout: Layout, page: TopologyPage) {
  return Object.fromEntries(page.nodes.filter((n) => layout.nodes[n.id]).map((n) => [n.id, layout.nodes[n.id]!]));
}

interface WorldProps {
  page: TopologyPage;
  layout: Layout;
  selection: Selection | null;
  found: Set<string> | null;
  home: string;
}

// World is all that moves when the picture is moved.
function World({ page, layout, selection, found, home }: WorldProps) {
  const nodes = new Map(page.nodes.map((n) => [n.id, n]));
  const pairs = new Set(page.edges.map((e) => `${e.from}>${e.to}`));
  const edges = page.edges.filter((e) => layout.nodes[e.from] && layout.nodes[e.to]);
  const emphasisOfNode = (id: string) =>
    selection ? (selection.nodes.has(id) ? 'lit' : 'dim') : found ? (found.has(id) ? 'lit' : 'dim') : '';
  const emphasisOfEdge = (e: TopologyEdge) =>
    selection ? (selection.edges.has(e.id) ? 'lit' : 'dim')
      : found ? (found.has(e.from) || found.has(e.to) ? '' : 'dim') : '';
  const routed = (e: TopologyEdge) =>
    route(layout.nodes[e.from]!, layout.nodes[e.to]!, e.from !== e.to && pairs.has(`${e.to}>${e.from}`));
  const counts = new Map<string, number>();
  for (const n of page.nodes) if (boxOf(n) !== '') counts.set(boxOf(n), (counts.get(boxOf(n)) ?? 0) + 1);
  const labels = placeLabels(layout.nodes, edges.map((e) => ({
    id: e.id, route: routed(e), rps: e.rps, signs: signsOf(e),
    wanted: selection ? selection.edges.has(e.id) : edges.length <= mostLabels && !isIdle(e), text: labelOf(e),
    must: selection !== null && selection.edges.size <= 12 && selection.edges.has(e.id),
  })));
  return (
    <>
      {layout.boxes.map((b) => counts.has(b.name) &&
        <BoxMark key={b.name} {...b} count={counts.get(b.name)!} dim={false} />)}
      {inOrder(edges, selection).map((e) => {
        const { d } = routed(e);
        return (
          <EdgeMark key={e.id} id={e.id} d={d} width={widthOf(e)} tone={toneOfEdge(e)} security={e.security} idle={isIdle(e)}
            emphasis={emphasisOfEdge(e)} selected={selection?.edge?.id === e.id}
            says={describe(e, nodes.get(e.from)!, nodes.get(e.to)!)} source={e.command} />
        );
      })}
      {page.nodes.map((n) => layout.nodes[n.id] && (
        <NodeMark key={n.id} id={n.id} x={layout.nodes[n.id]!.x} y={layout.nodes[n.id]!.y} name={nameOf(n)}
          summary={summaryOf(n)} short={shortOf(n)} brief={briefOf(n)} says={describeNode(n)} source={n.command} look={lookOf(n)} tone={toneOf(n.success)} icon={iconOf(n)}
          emphasis={emphasisOfNode(n.id)} selected={selection?.node?.id === n.id} reachable={n.id === home} />
      ))}
      {edges.map((e) => {
        const label = labels.get(e.id);
        return label && (
          <EdgeLabel key={e.id} id={e.id} x={label.x} y={label.y} tone={toneOfEdge(e)} plain={isPlain(e)} label={label.text}
            emphasis={emphasisOfEdge(e)} says={describe(e, nodes.get(e.from)!, nodes.get(e.to)!)} source={e.command} />
        );
      })}
    </>
  );
}

// inOrder puts what is selected last, which is on top.
function inOrder(edges: TopologyEdge[], selection: Selection | null): TopologyEdge[] {
  if (!selection) return edges;
  return [...edges.filter((e) => !selection.edges.has(e.id)), ...edges.filter((e) => selection.edges.has(e.id))];
}

function lookOf(n: TopologyNode): string {
  if (n.kind === 'namespace') return 'namespace';
  if (withoutProxy(n)) return 'workload unmeshed';
  return isObject(n) ? 'workload' : `foreign ${n.kind}`;
}

function iconOf(n: TopologyNode): IconName | '' {
  const tone = toneOf(n.success);
  if (tone === 'error' || tone === 'warning') return tone;
  if (withoutProxy(n)) return 'unlocked';
  const special: Record<string, IconName> = { external: 'external', hidden: 'denied', identity: 'lock' };
  return special[n.kind] ?? '';
}

function Arrows() {
  return (
    <defs>
      {['ok', 'idle', 'warning', 'error'].map((tone) => (
        <marker key={tone} id={`arrow-${tone}`} class={`arrow ${tone}`} viewBox="0 0 10 10" refX="9" refY="5" markerWidth="10"
          markerHeight="10" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0.8L10 5L0 9.2z" /></marker>
      ))}
    </defs>
  );
}
