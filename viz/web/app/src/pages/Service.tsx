import type { ServiceCaller, ServicePage, ServicePort, ServiceWorkload } from '../api';
import { count, last, none } from '../format';
import { useHistory } from '../history';
import { linkTo } from '../link';
import type { PageProps } from '../pages';
import { useStream } from '../stream';
import { Badge } from '../ui/Badge';
import { Fact, Facts } from '../ui/Facts';
import { goldenColumns, Latency, Rps, Success } from '../ui/Golden';
import { Meshed } from '../ui/Meshed';
import { Name } from '../ui/Name';
import { PageFrame } from '../ui/Page';
import { Nothing, Section } from '../ui/Section';
import { Table, type Column } from '../ui/Table';
import { kindOf, nameOf } from './topology/graph';
import { History, Spark } from './workload/History';
import { PeerName } from './workload/Peers';
import { Routes, Splits } from './workload/Routes';
import { splitsOf } from './workload/shares';
import './workload/workload.css';

// Service has a new View for each Service, so that none shows the numbers of another one.
export default function Service(props: PageProps) {
  return <View key={JSON.stringify(props.params)} {...props} />;
}

function View({ params, query }: PageProps) {
  const { namespace = '', name = '' } = params;
  const live = useStream<ServicePage>('service', { namespace, name, window: query.window });
  return (
    <div class="workload">
      <PageFrame title={name} live={live}
        sub={<>Service in <a href={linkTo('/', query, { namespace })}><Name>{namespace}</Name></a></>}
        actions={<a class="button" href={linkTo('/topology', query, { namespace })}>Topology</a>}>
        {(page) => <Content page={page} query={query} />}
      </PageFrame>
    </div>
  );
}

function Content({ page, query }: { page: ServicePage; query: Record<string, string> }) {
  const { namespace, commands, window } = page;
  return (
    <>
      <Summary page={page} />
      <History of={page} />
      <Section title="Routes" command={commands.routes}
        sub="Success and rate as the clients’ applications saw them, and with retries. Latencies are approximate: their buckets end at 50 ms, 500 ms, 1 s and 10 s">
        <Routes rows={page.routes} own={namespace} query={query} service={false} actual={commands.routes}
          empty={`No client with a proxy sent it a request in the last ${last(window)}, and it has no routes.`} />
      </Section>
      {splitsOf(page.routes).length > 0 && (
        <Section title="Splits" sub="The shares of requests that the weights of routes ask for, and the observed shares">
          <Splits rows={page.routes} own={namespace} />
        </Section>
      )}
      <Section title="Callers" count={page.callers.length} sub="The workloads that called this Service, under any route">
        <Callers page={page} query={query} />
      </Section>
      <Section title="Workloads" count={page.workloads.length} sub="The workloads of its endpoints">
        <Workloads page={page} query={query} />
      </Section>
      {page.ports.length > 0 && (
        <Section title="Ports" count={page.ports.length}>
          <Table id="ports" caption="Ports" columns={portColumns} rows={page.ports} rowKey={(p) => String(p.port)} />
        </Section>
      )}
    </>
  );
}

function Summary({ page }: { page: ServicePage }) {
  const source = page.commands.stat;
  const past = useHistory(page, '10m');
  const endpoints = page.workloads.reduce((n, w) => n + w.pods, 0);
  return (
    <div class="card summary">
      <Facts>
        <Fact name="Success" title={source} below={<Spark past={past} of="success" />}><Success value={page.success} /></Fact>
        <Fact name="Rate" title={source} below={<Spark past={past} of="rps" />}><Rps value={page.rps} /></Fact>
        <Fact name="p50" title={source} below={<Spark past={past} of="p50" />}><Latency value={page.p50} /></Fact>
        <Fact name="p95" title={source} below={<Spark past={past} of="p95" />}><Latency value={page.p95} /></Fact>
        <Fact name="p99" title={source} below={<Spark past={past} of="p99" />}><Latency value={page.p99} /></Fact>
        <Fact name="Connections" title={source}>{page.tcp ? count(page.tcp.open) : none}</Fact>
        {page.configured && <Fact name="Endpoints meshed" title={page.ports[0]?.command}>
          <Meshed meshed={page.workloads.reduce((n, w) => n + w.meshed, 0)} pods={endpoints} /></Fact>}
      </Facts>
    </div>
  );
}

function Callers({ page, query }: { page: ServicePage; query: Record<string, string> }) {
  const columns: Column<ServiceCaller>[] = [
    { key: 'name', title: 'Caller', sort: nameOf, cell: (c) => <PeerName peer={c} own={page.namespace} query={query} /> },
    { key: 'kind', title: 'Kind', sort: kindOf, cell: (c) => <span class="soft">{kindOf(c)}</span> },
    { key: 'protocol', title: 'Protocol', sort: (c) => c.protocol, cell: (c) => c.protocol || <span class="soft">connections only</span> },
    ...goldenColumns<ServiceCaller>((c) => c, (c) => c.command),
    { key: 'connections', title: 'Connections', numeric: true, help: 'Connections to its endpoints that are open now', sort: (c) => -(c.tcpOpen ?? -1),
      cell: (c) => c.tcpOpen === null ? <span class="faint">{none}</span> : <span class="number" title={c.command}>{count(c.tcpOpen)}</span> },
  ];
  return <Table id="callers" caption="Callers" columns={columns} rows={page.callers} rowKey={(c) => `${c.kind}/${c.namespace}/${c.name}/${c.protocol}`}
    empty={<Nothing>No client with a proxy called it in the last {last(page.window)}.</Nothing>} />;
}

function Workloads({ page, query }: { page: ServicePage; query: Record<string, string> }) {
  const columns: Column<ServiceWorkload>[] = [
    { key: 'name', title: 'Workload', sort: nameOf, cell: (w) => <PeerName peer={w} own={page.namespace} query={query} /> },
    { key: 'kind', title: 'Kind', sort: kindOf, cell: (w) => <span class="soft">{kindOf(w)}</span> },
    ...goldenColumns<ServiceWorkload>((w) => w, (w) => w.command),
    { key: 'pods', title: 'Endpoints meshed', numeric: true, sort: (w) => (w.pods === 0 ? 2 : w.meshed / w.pods),
      cell: (w) => w.pods === 0 ? <span class="faint" title="None of its pods is an endpoint now">{none}</span> : <Meshed meshed={w.meshed} pods={w.pods} /> },
    { key: 'versions', title: 'Proxies', sort: (w) => w.versions.join(), cell: (w) => w.versions.length === 0 ? <span class="faint">{none}</span>
      : <span class="versions">{w.versions.map((v) => <Badge key={v} tone={w.versions.length > 1 ? 'warning' : 'neutral'}><Name most={20}>{v}</Name></Badge>)}</span> },
  ];
  return <Table id="workloads" caption="Workloads" columns={columns} rows={page.workloads} rowKey={(w) => `${w.kind}/${w.namespace}/${w.name}`}
    empty={<Nothing>{page.configured ? 'It has no endpoints: no ready pod matches its selector.'
      : 'No workload answered a request to it.'}</Nothing>} />;
}

const portColumns: Column<ServicePort>[] = [
  { key: 'port', title: 'Port', sort: (p) => p.port, cell: (p) => <span class="number">{p.port}</span> },
  { key: 'protocol', title: 'Protocol', sort: (p) => p.protocol, cell: (p) => p.protocol === 'detect'
    ? <span class="soft" title="The port declares no protocol, so the proxy detects it from the first bytes">detected</span> : p.protocol },
  { key: 'meshed', title: 'Endpoints meshed', numeric: true, sort: (p) => p.endpoints, cell: (p) => <Meshed meshed={p.meshed} pods={p.endpoints} title={p.command} /> },
];
