import type { InboundRow, WorkloadPage } from '../api';
import { count, none } from '../format';
import { useHistory } from '../history';
import { linkTo } from '../link';
import { built, pages, type PageProps } from '../pages';
import { useStream } from '../stream';
import { goldenColumns, Latency, Rps, Success } from '../ui/Golden';
import { Badge } from '../ui/Badge';
import { Command } from '../ui/Command';
import { Empty } from '../ui/Empty';
import { Fact, Facts } from '../ui/Facts';
import { Meshed } from '../ui/Meshed';
import { Name } from '../ui/Name';
import { PageFrame } from '../ui/Page';
import { Nothing, Section } from '../ui/Section';
import { Table, type Column } from '../ui/Table';
import { isWorkload, kindOf } from './topology/graph';
import { tapLink } from './topology/links';
import { earliest } from './workload/certificate';
import { History, Spark } from './workload/History';
import { Peers } from './workload/Peers';
import { Certificate, Pods } from './workload/Pods';
import { Authorizations, Denials } from './workload/Policy';
import { Routes, Splits } from './workload/Routes';
import { splitsOf } from './workload/shares';
import './workload/workload.css';

// Workload has a new View for each workload, so that none shows the numbers of another one.
export default function Workload(props: PageProps) {
  return <View key={JSON.stringify(props.params)} {...props} />;
}

function View({ params, query }: PageProps) {
  const { namespace = '', kind = '', name = '' } = params;
  const live = useStream<WorkloadPage>('workload', { namespace, kind, name, window: query.window });
  const ref = { kind: live.page?.kind ?? kind, namespace, name };
  const tap = pages.find((p) => p.path === '/tap');
  return (
    <div class="workload">
      <PageFrame title={name} live={live}
        sub={<>{ref.kind === 'pod' ? 'Pod' : kindOf(ref)} in <a href={linkTo('/', query, { namespace })}><Name>{namespace}</Name></a></>}
        actions={<>
          {ref.kind !== 'pod' && <a class="button" href={linkTo('/topology', query, { namespace, kind: ref.kind, name })}>Topology</a>}
          {tap && built(tap) && live.page?.meshed !== 0 && <a class="button" href={tapLink(query, ref)}>Tap</a>}
        </>}>
        {(page) => <Content page={page} query={query} />}
      </PageFrame>
    </div>
  );
}

function Content({ page, query }: { page: WorkloadPage; query: Record<string, string> }) {
  const { namespace, commands, at, window } = page;
  if (page.meshed === 0 && page.rps === 0) return <Unmeshed page={page} query={query} />;
  return (
    <>
      <Summary page={page} />
      <History of={page} />
      {page.peersKnown && (
        <Section title="Callers" count={page.callers.length} sub="The workloads that call it, as the clients’ proxies counted" command={commands.edges}>
          <Peers title="Caller" peers={page.callers} own={namespace} query={query} empty="Nobody called it in the last ten minutes." />
        </Section>
      )}
      <Section title="Served requests" sub="By Server and route" command={commands.inbound}>
        <Inbound page={page} />
      </Section>
      <Section title="Denied clients" sub="Requests and connections that policy denied" command={commands.authz} actions={page.denials.length > 0 &&
        <a class="button" href={linkTo('/policies', query, { namespace })}>What would allow it</a>}>
        <Denials rows={page.denials} window={window} command={commands.authz} />
      </Section>
      <Section title="Authorizations" sub="What allowed requests" command={commands.authz}>
        <Authorizations rows={page.authorizations} command={commands.authz} />
      </Section>
      {page.peersKnown && (
        <Section title="Calls" count={page.callees.length} sub="The workloads that it calls, as its own proxies counted" command={commands.edges}>
          <Peers title="Called" peers={page.callees} own={namespace} query={query} empty="It called nobody in the last ten minutes." />
        </Section>
      )}
      <Section title="Sent requests by route" command={commands.routes}
        sub="Success and rate as the application saw them, and with retries. Latencies are approximate: their buckets end at 50 ms, 500 ms, 1 s and 10 s">
        <Routes rows={page.routes} own={namespace} query={query} service actual={commands.actual}
          empty={`It sent no requests to Services in the last ${window}.`} />
      </Section>
      {splitsOf(page.routes).length > 0 && (
        <Section title="Splits" sub="The shares of requests that the weights of routes ask for, and the observed shares" command={commands.routes}>
          <Splits rows={page.routes} own={namespace} />
        </Section>
      )}
      <Section title="Pods" count={page.podRows.length} command={commands.pods}>
        <Pods rows={page.podRows} namespace={namespace} now={at} command={commands.pods} query={query} />
      </Section>
    </>
  );
}

function Summary({ page }: { page: WorkloadPage }) {
  const source = page.commands.stat;
  const past = useHistory(page, '10m');
  return (
    <div class="card summary">
      <Facts>
        <Fact name="Success" title={source} below={<Spark past={past} of="success" />}><Success value={page.success} /></Fact>
        <Fact name="Rate" title={source} below={<Spark past={past} of="rps" />}><Rps value={page.rps} /></Fact>
        <Fact name="p50" title={source} below={<Spark past={past} of="p50" />}><Latency value={page.p50} /></Fact>
        <Fact name="p95" title={source} below={<Spark past={past} of="p95" />}><Latency value={page.p95} /></Fact>
        <Fact name="p99" title={source} below={<Spark past={past} of="p99" />}><Latency value={page.p99} /></Fact>
        <Fact name="Connections" title={source}>{page.tcp ? count(page.tcp.open) : none}</Fact>
        <Fact name="Pods meshed" title={source}><Meshed meshed={page.meshed} pods={page.pods} /></Fact>
        <Fact name="Proxies" title={page.commands.pods}>
          {page.versions.length === 0 ? none : <span class="versions">{page.versions.map((v) =>
            <Badge key={v} tone={page.versions.length > 1 ? 'warning' : 'neutral'}><Name most={20}>{v}</Name></Badge>)}</span>}
        </Fact>
        <Fact name="Certificate ends"><Certificate end={earliest(page.podRows.map((p) => p.certificateEnd))} now={page.at} /></Fact>
      </Facts>
    </div>
  );
}

function Inbound({ page }: { page: WorkloadPage }) {
  const columns: Column<InboundRow>[] = [
    { key: 'server', title: 'Server', sort: (r) => r.server, cell: (r) => r.server === '[default]' ? <span class="soft">no Server</span>
      : <Name most={34}>{r.server}</Name> },
    { key: 'port', title: 'Port', numeric: true, sort: (r) => Number(r.port), cell: (r) => <span class="number">{r.port || none}</span> },
    { key: 'route', title: 'Route', sort: (r) => r.route, cell: (r) => r.kind === '' ? <span class="soft">{r.route === 'probe' ? 'the kubelet’s probes' : r.route === '' ? 'matched no route' : 'no route'}</span>
      : <><Name most={34}>{r.route}</Name> <Badge tone="neutral" icon={null}>{r.kind}</Badge></> },
    ...goldenColumns<InboundRow>((r) => r, () => page.commands.inbound),
  ];
  return <Table id="served" caption="Served requests by Server and route" columns={columns} rows={page.inbound} rowKey={(r) => `${r.server}:${r.port}/${r.kind}/${r.route}`}
    empty={<Nothing>It served no requests in the last {page.window}.</Nothing>} />;
}

// Unmeshed says how a workload gets a proxy.
function Unmeshed({ page, query }: { page: WorkloadPage; query: Record<string, string> }) {
  const restart = ['deployment', 'statefulset', 'daemonset'].includes(page.kind);
  return (
    <>
      <Empty icon="unlocked" title={page.pods === 0 ? 'It has no pods' : 'It has no proxy'}>
        {page.pods > 0 && <p>Its traffic is plaintext, and no proxy counts it. Annotate its namespace, so that new pods get a proxy{restart && ', and restart it'}:</p>}
        {page.pods > 0 && <Command>{`kubectl annotate namespace ${page.namespace} linkerd.io/inject=enabled`}</Command>}
        {page.pods > 0 && restart && <Command>{`kubectl rollout restart ${page.kind}/${page.name} -n ${page.namespace}`}</Command>}
        <p class="faint">The numbers then appear here.</p>
      </Empty>
      {page.callers.length > 0 && (
        <Section title="Callers" count={page.callers.length} sub="Clients with a proxy that call it" command={page.commands.edges}>
          <Peers title="Caller" peers={page.callers} own={page.namespace} query={query} empty="" />
        </Section>
      )}
      {isWorkload(page) && page.podRows.length > 0 && (
        <Section title="Pods" count={page.podRows.length} command={page.commands.pods}>
          <Pods rows={page.podRows} namespace={page.namespace} now={page.at} command={page.commands.pods} query={query} />
        </Section>
      )}
    </>
  );
}
