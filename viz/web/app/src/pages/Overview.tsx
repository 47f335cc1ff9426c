import type { OverviewPage, OverviewRow, State } from '../api';
import { count, plural, sourceOf } from '../format';
import { kindName } from '../kinds';
import { linkTo, pathOf, usePageQuery } from '../link';
import type { PageProps } from '../pages';
import { quote } from '../quote';
import { useStream } from '../stream';
import { Badge, type Tone } from '../ui/Badge';
import { Command } from '../ui/Command';
import { Empty } from '../ui/Empty';
import { goldenColumns, Rps } from '../ui/Golden';
import { Icon, type IconName } from '../ui/Icon';
import { Meshed } from '../ui/Meshed';
import { Name } from '../ui/Name';
import { PageFrame } from '../ui/Page';
import { Problems } from '../ui/Problems';
import { SearchField } from '../ui/SearchField';
import { Table, type Column } from '../ui/Table';
import './Overview.css';

const states: Record<State, { word: string; tone: Tone; icon: IconName | null; order: number }> = {
  error: { word: 'Failing', tone: 'error', icon: 'error', order: 0 },
  warning: { word: 'Warning', tone: 'warning', icon: 'warning', order: 1 },
  ok: { word: 'OK', tone: 'ok', icon: 'check', order: 2 },
  quiet: { word: 'No traffic', tone: 'neutral', icon: null, order: 3 },
  unmeshed: { word: 'Not meshed', tone: 'neutral', icon: null, order: 4 },
};

export default function Overview({ query }: PageProps) {
  const namespace = query.namespace ?? '';
  const live = useStream<OverviewPage>('overview', { namespace, window: query.window });
  return (
    <PageFrame title={namespace === '' ? 'Overview' : namespace} live={live}
      sub={namespace === '' ? 'Every namespace, worst first' : 'One namespace and its workloads, worst first'}
      actions={namespace !== '' && (
        <>
          <a class="button" href={linkTo('/topology', query)}>Topology</a>
          <a class="button" href={linkTo('/policies', query)}>Policies</a>
        </>
      )}>
      {(page) => <Content page={page} query={query} />}
    </PageFrame>
  );
}

function Content({ page, query }: { page: OverviewPage; query: Record<string, string> }) {
  const rows = page.workloads ?? page.namespaces;
  if (rows.every((r) => r.state === 'unmeshed')) return <Unmeshed rows={rows} query={query} />;
  return (
    <>
      <Summary page={page} rows={rows} />
      <Rows page={page} rows={rows} query={query} />
    </>
  );
}

// Summary says in one line whether something is wrong, and lists the problems below.
function Summary({ page, rows }: { page: OverviewPage; rows: OverviewRow[] }) {
  const errors = page.problems.filter((p) => p.severity === 'error').length;
  const warnings = page.problems.length - errors;
  const meshed = rows.reduce((sum, r) => sum + r.meshed, 0);
  const pods = rows.reduce((sum, r) => sum + r.pods, 0);
  const busy = rows.filter((r) => r.success !== null).length;
  const what = page.workloads ? 'workload' : 'namespace';
  const title = errors > 0 ? 'Requests fail' : warnings > 0 ? 'Some things need attention' : 'Nothing is wrong';
  const tone: Tone = errors > 0 ? 'error' : warnings > 0 ? 'warning' : 'ok';
  return (
    <section class={`card verdict ${tone}`} aria-label="What is wrong now">
      <div class="verdict-head">
        <span class={`verdict-icon ${tone}`}><Icon name={tone === 'ok' ? 'check' : (tone as IconName)} /></span>
        <div class="verdict-title">
          <h2>{title}</h2>
          <p>
            {errors > 0 && plural(errors, 'error')}{errors > 0 && warnings > 0 && ' and '}
            {warnings > 0 && plural(warnings, 'warning')}
            {errors + warnings === 0 && 'No failing requests, no denied requests, no missing proxies.'}
          </p>
        </div>
        <dl class="facts">
          <div><dt>{page.workloads ? 'Workloads' : 'Namespaces'}</dt><dd>{count(rows.length)}</dd></div>
          <div><dt>With traffic</dt><dd title={`Each ${what} that answered a request in the time window`}>{count(busy)}</dd></div>
          <div><dt>Pods meshed</dt><dd>{count(meshed)} <small>of {count(pods)}</small></dd></div>
        </dl>
      </div>
      {page.problems.length > 0 && <Problems problems={page.problems} most={6} />}
    </section>
  );
}

function Rows({ page, rows, query }: { page: OverviewPage; rows: OverviewRow[]; query: Record<string, string> }) {
  const [, change] = usePageQuery();
  const all = query.unmeshed === 'shown';
  const text = query.search ?? '';
  const found = rows.filter((r) => r.name.includes(text));
  const meshed = found.filter((r) => r.state !== 'unmeshed');
  const shown = all || text !== '' ? found : meshed;
  const hidden = found.length - meshed.length;
  const what = page.workloads ? 'workload' : 'namespace';
  return (
    <section aria-labelledby="rows">
      <div class="section-head">
        <h2 id="rows">{page.workloads ? 'Workloads' : 'Namespaces'}</h2>
        <SearchField label={`Search ${what}s`} value={text} onInput={(search) => change({ search })} />
      </div>
      <Table id={`${what}s`} caption={`The ${what}s and their numbers`} columns={columnsOf(page, query)} rows={shown}
        rowKey={(r) => `${r.kind}/${r.name}`} rowClass={(r) => r.state}
        empty={<Empty icon="search" title={`No ${what} has a name with this text`}>
          <p><button type="button" class="button" onClick={() => change({ search: null })}>Clear the search</button></p>
        </Empty>} />
      {hidden > 0 && text === '' && (
        <button type="button" class="more" aria-expanded={all} onClick={() => change({ unmeshed: all ? null : 'shown' })}>
          <Icon name={all ? 'up' : 'down'} />
          {all ? 'Hide' : 'Show'} {plural(hidden, what)} without a proxy
        </button>
      )}
    </section>
  );
}

function columnsOf(page: OverviewPage, query: Record<string, string>): Column<OverviewRow>[] {
  const source = (r: OverviewRow) => sourceOf(`${r.kind === 'namespace' ? 'ns' : r.kind}/${r.name}`, r.namespace, page.window);
  const link = (r: OverviewRow) => r.kind === 'namespace' ? linkTo('/', query, { namespace: r.name })
    : linkTo(pathOf(r) ?? '/', query, { namespace: null });
  const columns: Column<OverviewRow>[] = [
    { key: 'name', title: page.workloads ? 'Workload' : 'Namespace', sort: (r) => r.name,
      cell: (r) => <a href={link(r)}><Name most={32}>{r.name}</Name></a> },
  ];
  if (page.workloads) columns.push({ key: 'kind', title: 'Kind', sort: (r) => r.kind, cell: (r) => <span class="soft">{kindName(r.kind)}</span> });
  columns.push(
    { key: 'state', title: 'State', sort: (r) => states[r.state].order, cell: (r) => {
      const { word, tone, icon } = states[r.state];
      return <Badge tone={tone} icon={icon}>{word}</Badge>;
    } },
    ...goldenColumns<OverviewRow>((r) => r, source),
    { key: 'meshed', title: 'Meshed', numeric: true, help: 'Pods with a proxy, of all that have not ended',
      sort: (r) => (r.pods === 0 ? 2 : r.meshed / r.pods), cell: (r) => <Meshed meshed={r.meshed} pods={r.pods} title={source(r)} /> },
    { key: 'open', title: 'Connections', numeric: true, help: 'Connections that are open now', sort: (r) => -(r.open ?? -1),
      cell: (r) => r.open === null ? <span class="faint">–</span> : <span class="number" title={source(r)}>{count(r.open)}</span> },
  );
  if (!page.workloads) {
    columns.push({ key: 'denied', title: 'Denied', numeric: true, help: 'HTTP requests that policy denied', sort: (r) => -(r.denied ?? 0),
      cell: (r) => {
        const title = `tulle viz authz ns/${r.name} -t ${page.window}`;
        return r.denied ? (
          <a class="warning-text" href={linkTo('/policies', query, { namespace: r.name })}>
            <Icon name="denied" /> <Rps value={r.denied} title={title} />
          </a>
        )
          : <span class="faint" title={title}>{r.state === 'unmeshed' ? '–' : '0'}</span>;
      } });
  }
  return columns;
}

// Unmeshed says how to mesh the first workloads.
function Unmeshed({ rows, query }: { rows: OverviewRow[]; query: Record<string, string> }) {
  const one = query.namespace ?? '';
  const name = one || rows.find((r) => r.pods > 0 && !/^kube-|^tulle/.test(r.name))?.name || 'NAMESPACE';
  return (
    <Empty icon="unlocked" title={one ? 'No workload of this namespace has a proxy' : 'No workload has a proxy yet'}>
      <p>Annotate the namespace, so that new pods get a proxy, and restart its workloads:</p>
      <Command>{`kubectl annotate namespace ${quote(name)} linkerd.io/inject=enabled`}</Command>
      <Command>{`kubectl rollout restart deploy,sts,ds -n ${quote(name)}`}</Command>
      <p class="faint">The numbers then appear here.</p>
    </Empty>
  );
}
