import type { PodRow } from '../../api';
import { none } from '../../format';
import { linkTo, pathOf } from '../../link';
import { Badge } from '../../ui/Badge';
import { goldenColumns } from '../../ui/Golden';
import { Name } from '../../ui/Name';
import { Nothing } from '../../ui/Section';
import { Table, type Column } from '../../ui/Table';
import { endOf } from './certificate';

// Certificate says when a proxy's certificate ends.
export function Certificate(props: { end: string | null; now: string }) {
  if (props.end === null) return <span class="faint">{none}</span>;
  const { text, tone, title } = endOf(props.end, props.now);
  if (tone === 'ok') return <span class="number" title={title}>{text}</span>;
  return <Badge tone={tone} title={title}>{text}</Badge>;
}

const fine = ['Running', 'Succeeded', 'Completed'];

// Pods is a table of pods, with their proxies.
export function Pods(props: { rows: PodRow[]; namespace: string; now: string; command: string; query: Record<string, string> }) {
  const path = (p: PodRow) => pathOf({ kind: 'pod', namespace: props.namespace, name: p.name })!;
  const columns: Column<PodRow>[] = [
    { key: 'name', title: 'Pod', sort: (p) => p.name, cell: (p) => <a href={linkTo(path(p), props.query, { namespace: null })}><Name most={46}>{p.name}</Name></a> },
    { key: 'status', title: 'Status', sort: (p) => p.status, cell: (p) => fine.includes(p.status) ? <span>{p.status}</span>
      : <Badge tone="warning">{p.status || 'not known'}</Badge> },
    { key: 'version', title: 'Proxy', sort: (p) => p.version, cell: (p) => p.meshed ? <Name most={24}>{p.version || 'not known'}</Name>
      : <Badge tone="neutral" icon="unlocked">no proxy</Badge> },
    ...goldenColumns<PodRow>((p) => p, () => props.command),
    { key: 'certificate', title: 'Certificate ends', numeric: true, sort: (p) => p.certificateEnd ?? '9999',
      cell: (p) => <Certificate end={p.certificateEnd} now={props.now} /> },
  ];
  return <Table id="pods" caption="Pods" columns={columns} rows={props.rows} rowKey={(p) => p.name} empty={<Nothing>It has no pods now.</Nothing>} />;
}
