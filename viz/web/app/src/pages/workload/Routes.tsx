import type { RouteRow } from '../../api';
import { none, percent } from '../../format';
import { linkTo, pathOf } from '../../link';
import { Badge } from '../../ui/Badge';
import { goldenColumns, Rps, Success } from '../../ui/Golden';
import { Icon } from '../../ui/Icon';
import { Name } from '../../ui/Name';
import { Nothing } from '../../ui/Section';
import { Table, type Column } from '../../ui/Table';
import { serviceOf, sharesOf, splitsOf } from './shares';

// Share is a share that is better small: of retries or timeouts.
function Share(props: { value: number | null; title: string }) {
  if (props.value === null) return <span class="number faint" title={props.title}>{none}</span>;
  return <span class={props.value > 0 ? 'number warning-text' : 'number faint'} title={props.title}>
    {props.value === 0 ? '0%' : percent(props.value)}</span>;
}

// RouteName is a route's name and kind.
function RouteName({ row }: { row: RouteRow }) {
  if (row.kind === '') return <span class="soft">no route</span>;
  if (row.route === '') return <span class="soft">all of the {row.kind}</span>;
  if (row.route === '[DEFAULT]') return <span class="soft">no route of the {row.kind}</span>;
  return <><Name most={40}>{row.route}</Name> <Badge tone="neutral" icon={null}>{row.kind}</Badge></>;
}

// Routes is a table of requests by Service and route. service says whether it has the Service.
export function Routes(props: { rows: RouteRow[]; own: string; query: Record<string, string>; service: boolean; actual: string; empty: string }) {
  const { own, query } = props;
  const service: Column<RouteRow> = { key: 'service', title: 'Service', sort: (r) => serviceOf(r, own), cell: (r) => {
    const path = pathOf({ kind: 'service', namespace: r.namespace, name: r.service });
    return path && r.namespace !== '' ? <a href={linkTo(path, query, { namespace: null })}><Name most={34}>{serviceOf(r, own)}</Name></a>
      : <Name most={34}>{serviceOf(r, own)}</Name>;
  } };
  const route: Column<RouteRow> = { key: 'route', title: 'Route', sort: (r) => `${r.kind} ${r.route}`, cell: (r) => <RouteName row={r} /> };
  const port: Column<RouteRow> = { key: 'port', title: 'Port', numeric: true, sort: (r) => Number(r.port), cell: (r) => <span class="number">{r.port || none}</span> };
  const columns: Column<RouteRow>[] = [
    ...(props.service ? [service, route] : [route, port]),
    ...goldenColumns<RouteRow>((r) => r, (r) => r.command).slice(0, 2),
    { key: 'actual', title: 'With retries', numeric: true, sort: (r) => r.actual?.success ?? 2,
      help: 'Success and rate of all attempts, the retries too', cell: (r) => r.actual === null
        ? <span class="faint" title={props.actual}>{none}</span>
        : <span class="pair"><Success value={r.actual.success} title={props.actual} /> <Rps value={r.actual.rps} title={props.actual} /></span> },
    { key: 'retries', title: 'Retries', numeric: true, help: 'How many of the attempts were retries', sort: (r) => -(r.retries ?? -1),
      cell: (r) => <Share value={r.retries} title={r.command} /> },
    { key: 'timeouts', title: 'Timeouts', numeric: true, help: 'How many of the requests a timeout ended', sort: (r) => -(r.timeouts ?? -1),
      cell: (r) => <Share value={r.timeouts} title={r.command} /> },
    ...goldenColumns<RouteRow>((r) => r, (r) => r.command).slice(2),
  ];
  return <Table id="routes" caption="Routes and their numbers" columns={columns} rows={props.rows}
    rowKey={(r) => `${r.namespace}/${r.service}:${r.port}/${r.kind}/${r.route}`} empty={<Nothing>{props.empty}</Nothing>} />;
}

// Splits shows the expected and the observed shares of the backends of routes with weights.
export function Splits({ rows, own }: { rows: RouteRow[]; own: string }) {
  return (
    <div class="splits">
      {splitsOf(rows).map((r) => (
        <figure key={`${serviceOf(r, own)}/${r.kind}/${r.route}`} class="card split" title={r.command}>
          <figcaption>
            <strong><Name most={40}>{r.route || r.service}</Name></strong>
            {r.kind && <Badge tone="neutral" icon={null}>{r.kind}</Badge>}
            <span class="soft">of <Name most={34}>{serviceOf(r, own)}</Name></span>
          </figcaption>
          <table role="table">
            <thead>
              <tr><th scope="col">Backend</th><th scope="col" class="numeric">Expected</th><th scope="col">Observed</th>
                <th scope="col" class="numeric">Success</th></tr>
            </thead>
            <tbody>
              {sharesOf(r, own).map((b) => (
                <tr key={b.name}>
                  <th scope="row"><Name most={26}>{b.name}</Name>
                    {b.invalid && <span class="invalid"><Icon name="warning" /> {b.invalid}</span>}</th>
                  <td class="numeric number">{b.expected === null ? none : percent(b.expected)}</td>
                  <td><Bar share={b.share} expected={b.expected} off={b.off} /></td>
                  <td class="numeric"><Success value={b.success} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </figure>
      ))}
    </div>
  );
}

const width = 120;

// Bar is the observed share, with a mark at the share that the weights ask for.
function Bar(props: { share: number | null; expected: number | null; off: boolean }) {
  const { share, expected } = props;
  const x = expected === null ? 0 : Math.min(width - 1, Math.max(1, expected * width));
  return (
    <span class={props.off ? 'bar off' : 'bar'}>
      <svg viewBox={`0 0 ${width} 12`} width={width} height="12" aria-hidden="true">
        <rect class="track" x="0" y="3" width={width} height="6" rx="3" />
        <rect class="flow" x="0" y="3" width={(share ?? 0) * width} height="6" rx="3" />
        {expected !== null && <path class="expected" d={`M${x} 0v12`} />}
      </svg>
      <span class="number">{share === null ? none : percent(share)}</span>
      {props.off && <span title="The observed share is far from the share that the weights ask for"><Icon name="warning" /><span class="unseen">differs from the weights</span></span>}
    </span>
  );
}
