// The words of the picture and the table about nodes and edges.
import { kindName } from '../../kinds';
import type { Ref, TopologyEdge, TopologyLink, TopologyNode, TopologyPage } from '../../api';
import { latency, percent, plural, rate } from '../../format';
import { toneOf } from '../../ui/Golden';
import type { Task } from './grid';

const special: Record<string, string> = {
  unmeshed: 'Unmeshed clients',
  external: 'Other addresses',
  hidden: 'Another namespace',
  pods: 'No workload',
};

// nameOf returns what a node is called.
export function nameOf(node: Ref): string {
  if (node.kind === 'identity') return `${node.name}.${node.namespace}`;
  return node.name || special[node.kind] || node.kind;
}

const kinds: Record<string, string> = {
  unmeshed: 'not in the mesh', external: 'outside the cluster', identity: 'known by its identity only',
  hidden: 'you may not read it', pods: 'endpoints without a workload',
};

// kindOf returns what a node is.
export function kindOf(node: Ref): string {
  return kinds[node.kind] ?? kindName(node.kind);
}

// isObject reports whether a node is a workload or a namespace, which have pages.
export function isObject(node: Ref): boolean {
  return !(node.kind in special) && node.kind !== 'identity';
}

export function isWorkload(node: Ref): boolean {
  return isObject(node) && node.kind !== 'namespace';
}

// withoutProxy reports whether none of an object's pods is meshed.
export function withoutProxy(node: TopologyNode): boolean {
  return node.kind === 'unmeshed' || (isObject(node) && node.pods > 0 && node.meshed === 0);
}

// meshedText says how many pods are meshed.
export function meshedText(node: TopologyNode): string {
  if (node.kind === 'unmeshed') return 'no proxy';
  if (node.pods === 0) return '';
  return node.meshed === 0 ? 'no proxy' : node.meshed < node.pods ? `${node.meshed}/${node.pods} meshed` : '';
}

// summaryOf is the second line of a node.
export function summaryOf(node: TopologyNode): string {
  if (!isObject(node)) return kindOf(node);
  const meshed = meshedText(node);
  if (node.numbersKnown && node.rps > 0) {
    return [percent(node.success), `${rate(node.rps)} rps`, latency(node.p99)].join(' · ');
  }
  if (meshed === 'no proxy') return meshed;
  if (!node.numbersKnown) return `in ${node.namespace}`;
  if (node.tcpOpen) return plural(node.tcpOpen, 'connection');
  return meshed || 'no requests';
}

// shortOf is the name of a node at the smallest scales.
export function shortOf(node: Ref): string {
  const short: Record<string, string> = { unmeshed: 'Unmeshed', external: 'External', hidden: 'Hidden', pods: 'Other' };
  return node.name === '' ? short[node.kind] ?? nameOf(node) : nameOf(node);
}

// briefOf is the second line of a node at a small scale.
export function briefOf(node: TopologyNode): string {
  if (node.numbersKnown && node.rps > 0) return `${percent(node.success)} · ${rate(node.rps)} rps`;
  return isObject(node) ? summaryOf(node) : '';
}

// mostLabels is how many edges may have their text in the picture; of larger graphs only what is selected has.
export const mostLabels = 40;

// labelOf is the text of an edge.
export function labelOf(edge: TopologyEdge): string {
  if (edge.rps > 0) return [`${rate(edge.rps)} rps`, percent(edge.success), latency(edge.p99)].join(' · ');
  if (edge.tcpOpen) return plural(edge.tcpOpen, 'connection');
  return 'idle';
}

export const securityWords: Record<TopologyEdge['security'], string> = {
  mtls: 'mTLS', plaintext: 'plaintext', mixed: 'partly plaintext', external: 'leaves the cluster',
};

const reasons: Record<string, string> = {
  not_provided_by_service_discovery: 'The server has no proxy that proves an identity. Inject it.',
  no_tls_from_remote: 'The client sent no mesh TLS: it has no proxy, or its proxy skips the port.',
};

// reasonOf says why traffic is plaintext.
export function reasonOf(link: TopologyLink, security: TopologyEdge['security']): string {
  if (security === 'external') return 'Destinations outside the cluster have no identity in the mesh.';
  return reasons[link.reason] ?? `The proxy says: ${link.reason}.`;
}

// describe is an edge as a sentence, for screen readers and titles.
export function describe(edge: TopologyEdge, from: Ref, to: Ref): string {
  return `${nameOf(from)} to ${nameOf(to)}: ${labelOf(edge)}, ${securityWords[edge.security]}`;
}

// describeNode is a node as a sentence.
export function describeNode(node: TopologyNode): string {
  const tone = toneOf(node.success);
  const low = tone === 'error' || tone === 'warning' ? 'low success, ' : '';
  const where = node.namespace === '' ? '' : ` in namespace ${node.namespace}`;
  const meshed = meshedText(node);
  return `${nameOf(node)}, ${kindOf(node)}${where}: ${low}${summaryOf(node)}${
    meshed && !summaryOf(node).includes(meshed) ? `, ${meshed}` : ''}`;
}

// widthOf is how wide an edge is drawn: by the order of magnitude of its rate.
export function widthOf(edge: TopologyEdge): number {
  return Math.round(10 * Math.min(6, 1.25 + 1.1 * Math.log10(1 + edge.rps))) / 10;
}

// isIdle reports whether an edge had neither requests nor open connections.
export function isIdle(edge: TopologyEdge): boolean {
  return edge.rps === 0 && !edge.tcpOpen && edge.readBytes + edge.writeBytes === 0;
}

// toneOfEdge says how good the success rate of an edge is.
export function toneOfEdge(edge: TopologyEdge): 'warning' | 'error' | 'ok' {
  const tone = toneOf(edge.success);
  return tone === 'neutral' ? 'ok' : tone;
}

// isPlain reports whether some of an edge's traffic within the cluster is plaintext.
export function isPlain(edge: TopologyEdge): boolean {
  return edge.security === 'plaintext' || edge.security === 'mixed';
}

// signsOf returns how many signs an edge has: of plaintext, and of low success.
export function signsOf(edge: TopologyEdge): number {
  return (isPlain(edge) ? 1 : 0) + (toneOfEdge(edge) === 'ok' ? 0 : 1);
}

// boxOf returns the namespace that a node is drawn in; "" for none.
export function boxOf(node: Ref): string {
  return isWorkload(node) || node.kind === 'pods' || node.kind === 'identity' ? node.namespace : '';
}

// taskOf returns what the layout needs to know.
export function taskOf(page: TopologyPage, aspect: number): Task {
  return {
    nodes: page.nodes.map((n) => ({ id: n.id, box: boxOf(n) })),
    edges: page.edges.map((e) => ({ from: e.from, to: e.to })),
    aspect,
    roomy: page.edges.length <= 16,
  };
}

// matches reports whether a text is in a node's name, namespace or kind.
export function matches(node: Ref, text: string): boolean {
  const wanted = text.trim().toLowerCase();
  return [nameOf(node), node.namespace, `${node.namespace}/${node.name}`, kindOf(node)]
    .some((s) => s.toLowerCase().includes(wanted));
}

// Selection is a node with its neighbours, or an edge with its ends.
export interface Selection {
  node?: TopologyNode;
  edge?: TopologyEdge;
  nodes: Set<string>;
  edges: Set<string>;
}

// select returns what an ID selects, or null if the page no longer has it.
export function select(page: TopologyPage, id: string | undefined): Selection | null {
  const node = page.nodes.find((n) => n.id === id);
  const edge = page.edges.find((e) => e.id === id);
  if (node) {
    const touching = page.edges.filter((e) => e.from === id || e.to === id);
    return { node, nodes: new Set([node.id, ...touching.flatMap((e) => [e.from, e.to])]),
      edges: new Set(touching.map((e) => e.id)) };
  }
  if (edge) return { edge, nodes: new Set([edge.from, edge.to]), edges: new Set([edge.id]) };
  return null;
}
