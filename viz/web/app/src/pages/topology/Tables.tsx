import type { ComponentChildren } from 'preact';
import type { TopologyEdge, TopologyNode, TopologyPage } from '../../api';
import { count, none } from '../../format';
import { linkTo, pathOf, usePageQuery } from '../../link';
import { goldenColumns } from '../../ui/Golden';
import { Icon } from '../../ui/Icon';
import { Name } from '../../ui/Name';
import { Table, type Column } from '../../ui/Table';
import { isObject, kindOf, matches, nameOf, withoutProxy } from './graph';
import { tapLink } from './links';
import { SecurityBadge } from './SecurityBadge';
import { isWorkload } from './graph';

// Tables say in words what the picture shows.
export function Tables({ page, find, panel }: { page: TopologyPage; find: string; panel: ComponentChildren }) {
  const [query] = usePageQuery();
  const nodes = new Map(page.nodes.map((n) => [n.id, n]));
  const rows = page.nodes.filter((n) => find === '' || matches(n, find));
  const edges = page.edges.filter((e) => find === '' || matches(nodes.get(e.from)!, find) || matches(nodes.get(e.to)!, find));
  const several = new Set(page.nodes.filter(isObject).map((n) => n.namespace)).size > 1;
  return (
    <div class="tables">
      {panel}
      <section aria-labelledby="nodes-title">
        <h2 id="nodes-title">Nodes <span class="faint">{rows.length}</span></h2>
        <Table id="nodes" caption="Nodes of the graph" columns={nodeColumns(query, several)} rows={rows} rowKey={(n) => n.id}
          empty={<p class="soft">No name contains “{find}”.</p>} />
      </section>
      <section aria-labelledby="edges-title">
        <h2 id="edges-title">Edges <span class="faint">{edges.length}</span></h2>
        <Table id="edges" caption="Edges of the graph" columns={edgeColumns(query, nodes, several)} rows={edges} rowKey={(e) => e.id}
          empty={<p class="soft">{find === '' ? 'There was no traffic in the last ten minutes.' : `No edge has an end whose name contains “${find}”.`}</p>} />
      </section>
    </div>
  );
}

function nodeColumns(query: Record<string, string>, several: boolean): Column<TopologyNode>[] {
  const unknown = <span class="number faint" title="The topology of its namespace has this number.">{none}</span>;
  const columns: Column<TopologyNode>[] = [
    { key: 'name', title: 'Name', sort: nameOf, cell: (n) => {
      const path = isWorkload(n) ? pathOf(n) : n.kind === 'namespace' ? '/topology' : null;
      const href = path && linkTo(path, query, { namespace: n.kind === 'namespace' ? n.name : null });
      return href ? <a href={href}><Name>{nameOf(n)}</Name></a> : <Name>{nameOf(n)}</Name>;
    } },
    ...(several ? [{ key: 'namespace', title: 'Namespace', sort: (n: TopologyNode) => n.namespace,
      cell: (n: TopologyNode) => n.namespace && isObject(n) ? <Name most={24}>{n.namespace}</Name> : <span class="faint">{none}</span> }] : []),
    { key: 'kind', title: 'Kind', sort: kindOf, cell: (n) => kindOf(n) },
    { key: 'meshed', title: 'Meshed', numeric: true, sort: (n) => n.pods === 0 ? 2 : n.meshed / n.pods, help: 'Pods with a proxy',
      cell: (n) => n.pods === 0 ? <span class="faint">{none}</span> : (
        <span class="number">{withoutProxy(n) && <Icon name="unlocked" />} {count(n.meshed)}/{count(n.pods)}</span>) },
    ...goldenColumns<TopologyNode>((n) => n, (n) => n.command).map((c) =>
      ({ ...c, cell: (n: TopologyNode) => n.numbersKnown ? c.cell(n) : unknown })),
    { key: 'connections', title: 'Connections', numeric: true, sort: (n) => -(n.tcpOpen ?? -1),
      cell: (n) => <Connections value={n.tcpOpen} title={n.command} /> },
  ];
  return columns;
}

function Connections(props: { value: number | null; title: string }) {
  return <span class={props.value ? 'number' : 'number faint'} title={props.title || undefined}>
    {props.value === null ? none : count(props.value)}</span>;
}

function edgeColumns(query: Record<string, string>, nodes: Map<string, TopologyNode>, several: boolean): Column<TopologyEdge>[] {
  const end = (of: TopologyNode) => (
    <><Name most={28}>{nameOf(of)}</Name>{several && of.namespace && isObject(of) && <span class="faint"> <Name most={20}>{of.namespace}</Name></span>}</>
  );
  const [from, to] = [(e: TopologyEdge) => nodes.get(e.from)!, (e: TopologyEdge) => nodes.get(e.to)!];
  const identities = (e: TopologyEdge, of: 'clientID' | 'serverID') => {
    const all = [...new Set(e.links.map((l) => l[of]).filter((id) => id !== ''))];
    return all.length === 0 ? <span class="faint">{none}</span>
      : <span title={e.securityCommand}>{all.map((id, i) => <>{i > 0 && ', '}<Name most={28}>{id}</Name></>)}</span>;
  };
  return [
    { key: 'from', title: 'From', sort: (e) => nameOf(from(e)), cell: (e) => end(from(e)) },
    { key: 'to', title: 'To', sort: (e) => nameOf(to(e)), cell: (e) => end(to(e)) },
    { key: 'security', title: 'mTLS', sort: (e) => e.security, cell: (e) => <SecurityBadge edge={e} /> },
    ...goldenColumns<TopologyEdge>((e) => e, (e) => e.command),
    { key: 'connections', title: 'Connections', numeric: true, sort: (e) => -(e.tcpOpen ?? -1),
      cell: (e) => <Connections value={e.tcpOpen} title={e.command} /> },
    { key: 'client', title: 'Client identity', cell: (e) => identities(e, 'clientID') },
    { key: 'server', title: 'Server identity', cell: (e) => identities(e, 'serverID') },
    { key: 'tap', title: 'Requests', cell: (e) => isWorkload(from(e)) && from(e).meshed > 0
      ? <a href={tapLink(query, from(e), to(e))}>Tap</a> : <span class="faint">{none}</span> },
  ];
}
