// What the picture is made of. Each part draws itself again only if one of its texts or numbers has changed, so that an
// update of a large graph takes little time. Attributes of SVG have small letters: tabindex, not tabIndex.
import { Component } from 'preact';
import { middle } from '../../format';
import { Icon, type IconName } from '../../ui/Icon';
import { labelSize } from './labels';
import { nodeHeight, nodeWidth, type Box } from './grid';

abstract class Part<P extends object> extends Component<P> {
  override shouldComponentUpdate(next: P) {
    return (Object.keys(next) as (keyof P)[]).some((k) => next[k] !== this.props[k]);
  }
}

// titleOf is what a part says on hover: its numbers, and below them where they come from.
function titleOf(p: { says: string; source: string }): string {
  return p.source === '' ? p.says : `${p.says}\n${p.source}`;
}

type Emphasis = '' | 'lit' | 'dim';

export interface NodeMarkProps {
  id: string;
  x: number;
  y: number;
  name: string;
  summary: string;
  short: string; // the name at the smallest scales
  brief: string; // the summary at a small scale
  says: string; // all of it, for screen readers and the title
  source: string; // the command or the PromQL that the numbers come from
  look: string; // a class: namespace, workload, unmeshed, external, hidden
  tone: 'ok' | 'warning' | 'error' | 'neutral';
  icon: IconName | '';
  emphasis: Emphasis;
  selected: boolean;
  reachable: boolean; // by Tab; arrows reach the others
}

const left = -nodeWidth / 2;
const top = -nodeHeight / 2;

export class NodeMark extends Part<NodeMarkProps> {
  override render(p: NodeMarkProps) {
    return (
      <g class={`node ${p.look} ${p.tone} ${p.emphasis}`} transform={`translate(${p.x} ${p.y})`} data-id={p.id} role="button"
        tabindex={p.reachable ? 0 : -1} aria-pressed={p.selected} aria-label={p.says}>
        <title>{titleOf(p)}</title>
        {p.look === 'namespace' && <rect class="behind" x={left + 5} y={top - 5} width={nodeWidth} height={nodeHeight} rx="8" />}
        <rect class="card-shape" x={left} y={top} width={nodeWidth} height={nodeHeight} rx="8" />
        <rect class="tone" x={left + 6} y={top + 10} width="4" height={nodeHeight - 20} rx="2" />
        <text class="node-name" x={left + 20} y={-4}>{middle(p.name, p.icon ? 17 : 20)}</text>
        <text class="node-summary" x={left + 20} y={16}>{middle(p.summary, 29)}</text>
        <text class="node-mid" x={left + 18} y={p.brief ? -3 : 6}>{middle(p.short, p.icon ? 12 : 15)}</text>
        {p.brief && <text class="node-brief" x={left + 18} y={18}>{middle(p.brief, 19)}</text>}
        <text class="node-short" x={left + 16} y={9}>{middle(p.short, p.icon ? 9 : 11)}</text>
        {p.icon && <g class="node-icon" transform={`translate(${-left - 28} ${top + 9})`}><Icon name={p.icon} /></g>}
      </g>
    );
  }
}

export interface EdgeMarkProps {
  id: string;
  d: string;
  width: number;
  tone: 'ok' | 'warning' | 'error';
  security: string;
  idle: boolean;
  says: string;
  source: string;
  emphasis: Emphasis;
  selected: boolean;
}

export class EdgeMark extends Part<EdgeMarkProps> {
  override render(p: EdgeMarkProps) {
    const arrow = p.tone !== 'ok' ? p.tone : p.idle ? 'idle' : 'ok';
    return (
      <g class={`edge ${p.tone} ${p.security} ${p.idle ? 'idle' : ''} ${p.emphasis} ${p.selected ? 'selected' : ''}`}
        data-edge={p.id} aria-hidden="true">
        <title>{titleOf(p)}</title>
        <path class="reach" d={p.d} />
        <path class="line" d={p.d} stroke-width={p.width} marker-end={`url(#arrow-${arrow})`} />
      </g>
    );
  }
}

export interface EdgeLabelProps {
  id: string;
  x: number; // the middle of the edge
  y: number;
  tone: 'ok' | 'warning' | 'error';
  plain: boolean;
  label: string; // "" for signs only; its parts are apart by ·
  says: string;
  source: string;
  emphasis: Emphasis;
}

// EdgeLabel is what an edge says, on top of everything: its signs, and in a small graph its numbers.
export class EdgeLabel extends Part<EdgeLabelProps> {
  override render(p: EdgeLabelProps) {
    const icons: IconName[] = [...(p.plain ? ['unlocked' as const] : []), ...(p.tone === 'ok' ? [] : [p.tone])];
    const [first = '', ...rest] = p.label.split(' · ');
    const second = rest.join(' · ');
    const { width, height } = labelSize(p.label, icons.length);
    if (p.label === '') {
      return (
        <g class={`edge-label signs ${p.tone} ${p.emphasis}`} data-edge={p.id} aria-hidden="true" transform={`translate(${p.x} ${p.y})`}>
          <title>{titleOf(p)}</title>
          <rect x={-icons.length * 9 - 2} y="-11" width={icons.length * 18 + 4} height="22" rx="11" />
          {icons.map((name, i) => <g key={name} class={`mark ${name}`} transform={`translate(${(i - icons.length / 2) * 18 + 1} -8)`}><Icon name={name} /></g>)}
        </g>
      );
    }
    const start = -(first.length * 6.1 + icons.length * 18) / 2;
    return (
      <g class={`edge-label ${p.tone} ${p.emphasis}`} data-edge={p.id} aria-hidden="true" transform={`translate(${p.x} ${p.y})`}>
        <title>{titleOf(p)}</title>
        <rect x={-width / 2} y={-height / 2} width={width} height={height} rx="5" />
        {icons.map((name, i) => <g key={name} class={`mark ${name}`} transform={`translate(${start + i * 18} ${-height / 2 + 2.5})`}><Icon name={name} /></g>)}
        <text class="edge-first" x={start + icons.length * 18} y={-height / 2 + 14.5}>{first}</text>
        {second && <text class="edge-second" text-anchor="middle" y={height / 2 - 6}>{second}</text>}
      </g>
    );
  }
}

// BoxMark is a namespace with its workloads in it.
export class BoxMark extends Part<Box & { dim: boolean; count: number }> {
  override render(p: Box & { dim: boolean; count: number }) {
    const says = `Namespace ${p.name}: show it as one node`;
    return (
      <g class={`box ${p.dim ? 'dim' : ''}`} transform={`translate(${p.x} ${p.y})`}>
        <rect class="box-shape" width={p.width} height={p.height} rx="12" />
        <g class="box-head" data-box={p.name} role="button" tabindex={0} aria-label={says}>
          <title>{says}</title>
          <rect class="box-target" x="8" y="6" width={Math.min(p.width - 16, 40 + 8 * Math.min(p.name.length, 32))} height="28" rx="6" />
          <g class="box-icon" transform="translate(14 12)"><Icon name="zoomOut" /></g>
          <text class="box-name" x="36" y="25">{middle(p.name, 32)}</text>
          <text class="box-short" x="16" y="32">{middle(p.name, Math.max(6, Math.floor(p.width / 21)))}</text>
        </g>
      </g>
    );
  }
}
