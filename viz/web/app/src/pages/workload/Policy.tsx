import type { AuthorizationRow, DenialRow } from '../../api';
import { last, none } from '../../format';
import { goldenColumns, Rps } from '../../ui/Golden';
import { Icon } from '../../ui/Icon';
import { Name } from '../../ui/Name';
import { Nothing } from '../../ui/Section';
import { Table, type Column } from '../../ui/Table';

// placeOf writes a Server; a port without one has the default policy.
export function placeOf(server: string): string {
  return server.startsWith('default:') ? `no Server (${server.slice('default:'.length)})` : server;
}

function Place(props: { server: string }) {
  return props.server.startsWith('default:') || props.server === '[default]'
    ? <span class="soft">{props.server === '[default]' ? 'no Server' : placeOf(props.server)}</span> : <Name most={34}>{props.server}</Name>;
}

const clientOf = (d: DenialRow) => d.hidden ? 'a client that you may not see' : d.overflow ? 'further clients' : d.client || 'a client without an identity';

// Denials is a table of the denied clients.
export function Denials(props: { rows: DenialRow[]; window: string; command: string }) {
  const columns: Column<DenialRow>[] = [
    { key: 'client', title: 'Denied client', sort: clientOf, cell: (d) => <span class="denied"><Icon name="denied" />
      {d.hidden || d.client === '' ? <span class="soft">{clientOf(d)}</span> : <Name most={40}>{d.client}</Name>}</span> },
    { key: 'server', title: 'Server', sort: (d) => d.server, cell: (d) => <Place server={d.server} /> },
    { key: 'route', title: 'Route', sort: (d) => d.route, cell: (d) => d.route ? <Name most={30}>{d.route}</Name> : <span class="faint">{none}</span> },
    { key: 'reason', title: 'Reason', sort: (d) => d.reason, cell: (d) => d.reason ? <code>{d.reason}</code> : <span class="faint">{none}</span> },
    { key: 'what', title: 'What', sort: (d) => Number(d.connections), cell: (d) => <span class="soft">{d.connections ? 'connections' : 'requests'}</span> },
    { key: 'rps', title: 'Rate', numeric: true, sort: (d) => -d.rps, cell: (d) => <Rps value={d.rps} title={d.command} /> },
  ];
  return <Table id="denied" caption="Denied clients and why" columns={columns} rows={props.rows}
    rowKey={(d) => `${d.client}/${d.hidden}/${d.overflow}/${d.server}/${d.route}/${d.reason}/${d.connections}`}
    empty={<Nothing><Icon name="check" class="ok-text" /> Policy denied no client in the last {last(props.window)}.</Nothing>} />;
}

// Authorizations is a table of what allowed requests.
export function Authorizations(props: { rows: AuthorizationRow[]; command: string }) {
  const columns: Column<AuthorizationRow>[] = [
    { key: 'authorization', title: 'Allowed by', sort: (a) => a.authorization, cell: (a) => {
      const [kind = '', name = ''] = a.authorization.split('/', 2);
      if (a.authorization === 'default/probe') return <span class="soft">the kubelet’s probes</span>;
      return kind === 'default' ? <span class="soft">default policy <Name most={34}>{name}</Name></span> : <Name most={40}>{a.authorization}</Name>;
    } },
    { key: 'server', title: 'Server', sort: (a) => a.server, cell: (a) => <Place server={a.server} /> },
    { key: 'route', title: 'Route', sort: (a) => a.route, cell: (a) => a.route && a.route !== 'default' && a.route !== 'probe' ? <Name most={30}>{a.route}</Name>
      : <span class="faint">{none}</span> },
    ...goldenColumns<AuthorizationRow>((a) => a, () => props.command),
  ];
  return <Table id="authorizations" caption="What allowed requests" columns={columns} rows={props.rows.filter((a) => a.authorization !== '')}
    rowKey={(a) => `${a.server}/${a.route}/${a.authorization}`} empty={<Nothing>No requests arrived, and no authorization is known.</Nothing>} />;
}
