import type { Peer, Ref } from '../../api';
import { count, none } from '../../format';
import { linkTo, pathOf } from '../../link';
import { goldenColumns } from '../../ui/Golden';
import { Name } from '../../ui/Name';
import { Nothing } from '../../ui/Section';
import { Table, type Column } from '../../ui/Table';
import { isWorkload, kindOf, nameOf } from '../topology/graph';
import { SecurityBadge } from '../topology/SecurityBadge';

// PeerName is the name of a peer, with a link to its page.
export function PeerName(props: { peer: Ref; own: string; query: Record<string, string> }) {
  const { peer, own, query } = props;
  const path = isWorkload(peer) ? pathOf(peer) : null;
  const name = <Name most={28}>{nameOf(peer)}</Name>;
  return (
    <>
      {path ? <a href={linkTo(path, query, { namespace: null })}>{name}</a> : name}
      {isWorkload(peer) && peer.namespace !== own && <span class="faint"> <Name most={16}>{peer.namespace}</Name></span>}
    </>
  );
}

// Peers is a table of callers, or of those who are called.
export function Peers(props: { title: string; peers: Peer[]; own: string; query: Record<string, string>; empty: string }) {
  const columns: Column<Peer>[] = [
    { key: 'name', title: props.title, sort: nameOf, cell: (p) => <PeerName peer={p} own={props.own} query={props.query} /> },
    { key: 'kind', title: 'Kind', sort: kindOf, cell: (p) => <span class="soft">{kindOf(p)}</span> },
    { key: 'security', title: 'mTLS', sort: (p) => p.security, cell: (p) => <SecurityBadge edge={p} /> },
    ...goldenColumns<Peer>((p) => p, (p) => p.command),
    { key: 'connections', title: 'Connections', numeric: true, help: 'Connections that are open now', sort: (p) => -(p.tcpOpen ?? -1),
      cell: (p) => p.tcpOpen === null ? <span class="faint">{none}</span> : <span class="number" title={p.command}>{count(p.tcpOpen)}</span> },
  ];
  return <Table id={props.title.toLowerCase()} caption={props.title} columns={columns} rows={props.peers} rowKey={(p) => `${p.kind}/${p.namespace}/${p.name}`}
    empty={<Nothing>{props.empty}</Nothing>} />;
}
