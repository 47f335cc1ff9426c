import type { ComponentChildren } from 'preact';
import type { Ref, TopologyEdge, TopologyNode, TopologyPage } from '../../api';
import { count, none, plural, rate } from '../../format';
import { linkTo, pathOf, usePageQuery, withParams } from '../../link';
import { Badge } from '../../ui/Badge';
import { Command } from '../../ui/Command';
import { Latency, Rps, Success } from '../../ui/Golden';
import { Icon } from '../../ui/Icon';
import { Name } from '../../ui/Name';
import { isIdle, isObject, isWorkload, kindOf, labelOf, meshedText, nameOf, reasonOf, withoutProxy, type Selection } from './graph';
import { tapLink } from './links';
import { SecurityBadge } from './SecurityBadge';

export interface PanelProps {
  page: TopologyPage;
  selection: Selection;
  onSelect: (id: string | null) => void;
}

// Panel has the numbers of the node or edge that is selected.
export function Panel(props: PanelProps) {
  const { node, edge } = props.selection;
  return (
    <aside class="panel card" aria-label="Details" tabIndex={-1}>
      <button type="button" class="icon-button panel-close" title="Close (Esc)" aria-label="Close the details"
        onClick={() => props.onSelect(null)}><Icon name="close" /></button>
      {node && <NodePanel {...props} node={node} />}
      {edge && <EdgePanel {...props} edge={edge} />}
    </aside>
  );
}

function Facts(props: { title: string; children: ComponentChildren }) {
  return <dl class="facts" title={props.title || undefined}>{props.children}</dl>;
}

function Fact(props: { name: string; children: ComponentChildren }) {
  return <div><dt>{props.name}</dt><dd>{props.children}</dd></div>;
}

function GoldenFacts(props: { of: TopologyNode | TopologyEdge }) {
  const { of } = props;
  return (
    <Facts title={of.command}>
      <Fact name="Success"><Success value={of.success} /></Fact>
      <Fact name="Rate"><Rps value={of.rps} /></Fact>
      <Fact name="p50"><Latency value={of.p50} /></Fact>
      <Fact name="p95"><Latency value={of.p95} /></Fact>
      <Fact name="p99"><Latency value={of.p99} /></Fact>
      <Fact name="Connections"><span class="number">{of.tcpOpen === null ? none : count(of.tcpOpen)}</span></Fact>
    </Facts>
  );
}

const about: Record<string, string> = {
  unmeshed: 'Clients without a proxy. They use no mesh TLS, so they have no identity. TCP probes of the kubelet look the same.',
  external: 'An address that no object of the cluster has. It has no identity in the mesh.',
  identity: 'A client with this identity. Its own proxy reports no numbers here, so its workload is not known.',
  hidden: 'Workloads in namespaces that you may not read. You need the verb list on their pods and workloads.',
  pods: 'Endpoints of Services in this namespace that belong to no workload, such as those of the API server.',
};

function NodePanel({ page, node, onSelect }: PanelProps & { node: TopologyNode }) {
  const [query] = usePageQuery();
  const meshed = meshedText(node);
  const here = (changes: Record<string, string | null>) => linkTo('/topology', query, { kind: null, name: null, ...changes });
  const own = isWorkload(node) ? pathOf(node) : null;
  const outside = isWorkload(node) && !node.numbersKnown;
  return (
    <>
      <h2><Name most={30}>{nameOf(node)}</Name></h2>
      <p class="panel-sub">{kindOf(node)}{node.namespace && isObject(node) && <> in <Name most={28}>{node.namespace}</Name></>}</p>
      {isObject(node) && (
        <p class="badges">
          {withoutProxy(node) ? <Badge tone="neutral" icon="unlocked">no proxy</Badge>
            : <Badge tone={meshed ? 'warning' : 'ok'} icon="lock" title="Pods with a proxy">{count(node.meshed)}/{count(node.pods)} meshed</Badge>}
        </p>
      )}
      {about[node.kind] && <p class="about">{about[node.kind]}</p>}
      {node.numbersKnown && node.meshed > 0 && <><h3>Requests served</h3><GoldenFacts of={node} /></>}
      {outside && <p class="about">Its numbers are in the topology of its namespace.</p>}
      <p class="panel-links">
        {own && <a class="button" href={linkTo(own, query, { namespace: null })}>Workload</a>}
        {isWorkload(node) && node.meshed > 0 && <a class="button" href={tapLink(query, node)}>Tap</a>}
        {isWorkload(node) && page.focus === null && (
          <a class="button" href={here({ namespace: node.namespace, kind: node.kind, name: node.name, selected: node.id })}>Only neighbours</a>
        )}
        {outside && <a class="button" href={here({ namespace: node.namespace, selected: node.id })}>Its namespace</a>}
        {node.kind === 'namespace' && <a class="button" href={here({ namespace: node.name })}>Only this namespace</a>}
        {node.kind === 'namespace' && <a class="button" href={expandLink(query, node.name)}>Show its workloads</a>}
      </p>
      <Calls title="Called by" page={page} edges={page.edges.filter((e) => e.to === node.id)} end="from" onSelect={onSelect} />
      <Calls title="Calls" page={page} edges={page.edges.filter((e) => e.from === node.id)} end="to" onSelect={onSelect} />
      {node.command && <div class="source"><Command>{node.command}</Command></div>}
    </>
  );
}

// expandLink returns the page with the workloads of one more namespace.
function expandLink(query: Record<string, string>, namespace: string): string {
  const list = (text = '') => text.split(',').filter((n) => n !== '' && n !== namespace);
  const address = withParams('/topology', query);
  return withParams(address, { expand: [...list(query.expand), namespace].join(','), collapse: list(query.collapse).join(','), selected: null });
}

function Calls(props: { title: string; page: TopologyPage; edges: TopologyEdge[]; end: 'from' | 'to'; onSelect: (id: string) => void }) {
  if (props.edges.length === 0) return null;
  const nodes = new Map(props.page.nodes.map((n) => [n.id, n]));
  const busy = [...props.edges].sort((a, b) => b.rps - a.rps || a.id.localeCompare(b.id));
  return (
    <>
      <h3>{props.title} <span class="faint">{props.edges.length}</span></h3>
      <ul class="calls">
        {busy.map((e) => (
          <li key={e.id}>
            <button type="button" onClick={() => props.onSelect(e.id)}>
              <span class="calls-name"><Name most={24}>{nameOf(nodes.get(e[props.end])!)}</Name></span>
              <SecurityBadge edge={e} short />
              <span class="calls-numbers">{isIdle(e) ? <span class="faint">idle</span>
                : e.rps > 0 ? <><Success value={e.success} /> <span class="number">{rate(e.rps)} <small>rps</small></span></> : labelOf(e)}</span>
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

function End(props: { title: string; node: Ref & { id: string }; onSelect: (id: string) => void }) {
  return (
    <div class="end">
      <span class="faint">{props.title}</span>
      <button type="button" class="link" onClick={() => props.onSelect(props.node.id)}><Name most={30}>{nameOf(props.node)}</Name></button>
      {props.node.namespace && isObject(props.node) && <span class="soft"><Name most={20}>{props.node.namespace}</Name></span>}
    </div>
  );
}

function EdgePanel({ page, edge, onSelect }: PanelProps & { edge: TopologyEdge }) {
  const [query] = usePageQuery();
  const find = (id: string) => page.nodes.find((n) => n.id === id)!;
  const [from, to] = [find(edge.from), find(edge.to)];
  const bytes = (n: number) => n < 1000 ? `${Math.round(n)} B/s` : n < 1e6 ? `${(n / 1000).toFixed(1)} kB/s` : `${(n / 1e6).toFixed(1)} MB/s`;
  const tapped = isWorkload(from) && from.meshed > 0 ? tapLink(query, from, to)
    : isWorkload(to) && to.meshed > 0 ? tapLink(query, to) : null;
  return (
    <>
      <h2><Name most={16}>{nameOf(from)}</Name> <span class="faint" aria-label="to">→</span> <Name most={16}>{nameOf(to)}</Name></h2>
      <div class="ends">
        <End title="From" node={from} onSelect={onSelect} />
        <End title="To" node={to} onSelect={onSelect} />
      </div>
      <p class="badges"><SecurityBadge edge={edge} /></p>
      <h3>{from.kind === 'unmeshed' ? 'Requests, as the server counted them' : 'Requests, as the client counted them'}</h3>
      <GoldenFacts of={edge} />
      {edge.readBytes + edge.writeBytes > 0 && (
        <p class="about" title={edge.command}>{bytes(edge.readBytes)} read, {bytes(edge.writeBytes)} written</p>
      )}
      <h3>Identities</h3>
      <ul class="identities">
        {edge.links.map((l) => (
          <li key={`${l.reason} ${l.clientID} ${l.serverID}`}>
            {l.reason === '' ? (
              <Facts title={edge.securityCommand}>
                <Fact name="Client"><Name most={34}>{l.clientID || 'not proved'}</Name></Fact>
                <Fact name="Server"><Name most={34}>{l.serverID || 'not known'}</Name></Fact>
              </Facts>
            ) : <p class="about"><Icon name="unlocked" /> {reasonOf(l, edge.security)} <code>{l.reason}</code></p>}
          </li>
        ))}
      </ul>
      <p class="panel-links">
        {tapped && <a class="button" href={tapped}>Tap</a>}
        {isWorkload(from) && <a class="button" title="The page of the client" href={linkTo(pathOf(from)!, query, { namespace: null })}>Client</a>}
        {isWorkload(to) && <a class="button" title="The page of the server" href={linkTo(pathOf(to)!, query, { namespace: null })}>Server</a>}
      </p>
      {edge.command && <div class="source"><Command>{edge.command}</Command></div>}
      {edge.securityCommand && <div class="source"><Command>{edge.securityCommand}</Command></div>}
      <p class="unseen">{plural(edge.links.length, 'way', 'ways')} of connecting</p>
    </>
  );
}
