import type { ComponentChildren } from 'preact';
import type {
  CheckGroup,
  CheckResult,
  ControlPod,
  HealthCertificate,
  HealthChecks,
  HealthPage,
  ProxyPod,
} from '../api';
import { ago, count, day, plural, seconds } from '../format';
import { linkTo, pathOf } from '../link';
import { quote } from '../quote';
import type { PageProps } from '../pages';
import { useStream } from '../stream';
import { Badge, type Tone } from '../ui/Badge';
import { Command } from '../ui/Command';
import { Empty } from '../ui/Empty';
import { Icon, type IconName } from '../ui/Icon';
import { Name } from '../ui/Name';
import { PageFrame } from '../ui/Page';
import { Table, type Column } from '../ui/Table';
import { lifetimeOf } from './health/lifetime';
import './Health.css';

const results: Record<CheckResult, { word: string; icon: IconName; tone: Tone }> = {
  success: { word: 'OK', icon: 'check', tone: 'ok' },
  warning: { word: 'Warning', icon: 'warning', tone: 'warning' },
  error: { word: 'Error', icon: 'error', tone: 'error' },
};

export default function Health({ query }: PageProps) {
  const live = useStream<HealthPage>('health', { namespace: query.namespace });
  return (
    <PageFrame title="Health" live={live} sub="The installation: its checks, certificates and proxies">
      {(page) => (
        <div class="health-grid">
          <Checks page={page} />
          <Certificates page={page} />
          <ControlPlane page={page} />
          <Proxies page={page} query={query} />
        </div>
      )}
    </PageFrame>
  );
}

// Checks shows the results of `tulle check`. Groups with a failure are open.
function Checks({ page }: { page: HealthPage }) {
  const { checks } = page;
  if (!checks) {
    return (
      <section class="card" aria-label="Checks">
        <h2>Checks</h2>
        <p class="aside-note" role="status">
          {page.checking ? (
            <span class="asking">
              The checks are running. They take some seconds.
            </span>
          ) : (
            <>
              The checks do not run here. <Command>tulle check</Command>
            </>
          )}
        </p>
      </section>
    );
  }
  return (
    <section class="card" aria-labelledby="checks">
      <Summary page={page} checks={checks} />
      {checks.groups.map((g) => (
        <Group key={g.name} group={g} />
      ))}
    </section>
  );
}

function Summary({ page, checks }: { page: HealthPage; checks: HealthChecks }) {
  const tone: Tone = checks.errors > 0 ? 'error' : checks.warnings > 0 ? 'warning' : 'ok';
  const total = checks.groups.reduce((sum, g) => sum + g.checks.length, 0);
  const wrong = [
    checks.errors > 0 && plural(checks.errors, 'error'),
    checks.warnings > 0 && plural(checks.warnings, 'warning'),
  ];
  return (
    <div class="verdict-head">
      <span class={`verdict-icon ${tone}`}>
        <Icon name={tone === 'ok' ? 'check' : (tone as IconName)} />
      </span>
      <div class="verdict-title">
        <h2 id="checks">{tone === 'ok' ? 'Every check passes' : wrong.filter(Boolean).join(' and ')}</h2>
        <p title={`The run took ${checks.seconds.toFixed(1)} s`}>
          {plural(total, 'check')}, run {ago(since(page, checks.at))}
          {page.checking && (
            <>
              {' '}
              · <span class="asking">running again</span>
            </>
          )}
        </p>
      </div>
      <Command>tulle check</Command>
    </div>
  );
}

function Group({ group }: { group: CheckGroup }) {
  const wrong = group.checks.filter((c) => c.result !== 'success');
  const worst: CheckResult = wrong.some((c) => c.result === 'error')
    ? 'error'
    : wrong.length > 0
      ? 'warning'
      : 'success';
  const { icon, tone } = results[worst];
  return (
    <details class="check-group" open={wrong.length > 0}>
      <summary>
        <Icon name="right" />
        <span class="group-name">{group.name}</span>
        <Badge tone={tone} icon={icon}>
          {wrong.length > 0 ? `${wrong.length} of ${group.checks.length}` : plural(group.checks.length, 'check')}
        </Badge>
      </summary>
      <ul class="checks">
        {group.checks.map((c) => (
          <li key={c.text} class={c.result}>
            <Icon name={results[c.result].icon} />
            <div>
              <span class="unseen">{results[c.result].word}: </span>
              <bdi>{c.text}</bdi>
              {c.message && <p class="why">{c.message}</p>}
              {c.hint && (
                <p class="what">
                  <a href={c.hint} target="_blank" rel="noreferrer">
                    What to do <Icon name="external" />
                  </a>
                </p>
              )}
            </div>
          </li>
        ))}
      </ul>
    </details>
  );
}

// Certificates are lines from the start of each certificate to its end, with a mark at now.
function Certificates({ page }: { page: HealthPage }) {
  if (page.certificates.length === 0) return null;
  return (
    <section class="card" aria-labelledby="certificates">
      <h2 id="certificates">Trust anchors and certificates</h2>
      <div class="lifetimes">
        {page.certificates.map((c, i) => (
          <Lifetime key={`${c.part}${c.serial}${i}`} certificate={c} now={Date.parse(page.at)} />
        ))}
      </div>
    </section>
  );
}

function Lifetime({ certificate: c, now }: { certificate: HealthCertificate; now: number }) {
  const title = (
    <div>
      <span class="part">{c.part}</span>
      <small title={c.serial && `Serial ${c.serial}`}>
        <Name most={63}>{c.name}</Name>
      </small>
    </div>
  );
  if (!c.from || !c.to) {
    return (
      <div class="lifetime">
        {title}
        <p class="why">
          <Icon name="lock" /> Not known: {c.error}
        </p>
      </div>
    );
  }
  const [from, to] = [Date.parse(c.from), Date.parse(c.to)];
  const { tone, word, left, spent } = lifetimeOf(from, to, now);
  return (
    <div class="lifetime">
      {title}
      <div class="line">
        <div class="life" role="img" aria-label={`${Math.round(spent)}% of its lifetime has passed`}>
          <div class="spent" style={{ width: `${spent}%` }} />
          <div class="now" style={{ left: `${spent}%` }} />
        </div>
        <div class="dates">
          <time dateTime={c.from}>{day(c.from)}</time>
          <time dateTime={c.to}>{day(c.to)}</time>
        </div>
      </div>
      <div class="left">
        <Badge tone={tone}>{word}</Badge>
        <small>{left}</small>
      </div>
    </div>
  );
}

function ControlPlane({ page }: { page: HealthPage }) {
  const columns: Column<ControlPod>[] = [
    { key: 'component', title: 'Component', sort: (p) => p.component, cell: (p) => p.component },
    { key: 'name', title: 'Pod', sort: (p) => p.name, cell: (p) => <Name most={63}>{p.name}</Name> },
    {
      key: 'ready',
      title: 'State',
      sort: (p) => (p.ready ? 1 : 0),
      cell: (p) => (
        <Badge tone={p.ready ? 'ok' : 'error'} title={p.status}>
          {p.ready ? 'Ready' : p.status || 'Not ready'}
        </Badge>
      ),
    },
    {
      key: 'restarts',
      title: 'Restarts',
      numeric: true,
      sort: (p) => -p.restarts,
      cell: (p) => (
        <span class={p.restarts > 0 ? 'number' : 'number faint'} title={`kubectl get pods -n ${p.namespace}`}>
          {count(p.restarts)}
        </span>
      ),
    },
    {
      key: 'age',
      title: 'Age',
      numeric: true,
      sort: (p) => (p.started ? -Date.parse(p.started) : 0),
      cell: (p) => (
        <span class="number" title={p.started ?? undefined}>
          {p.started ? seconds(since(page, p.started)) : '–'}
        </span>
      ),
    },
    { key: 'version', title: 'Version', sort: (p) => p.version, cell: (p) => <Name most={24}>{p.version}</Name> },
    {
      key: 'namespace',
      title: 'Namespace',
      sort: (p) => p.namespace,
      cell: (p) => <span class="soft">{p.namespace}</span>,
    },
  ];
  return (
    <section class="card" aria-labelledby="control">
      <h2 id="control">Control plane and viz</h2>
      <Table
        id="control"
        caption="The pods of the control plane and of the viz extension"
        columns={columns}
        rows={page.controlPlane}
        rowKey={(p) => `${p.namespace}/${p.name}`}
        empty={<p class="aside-note">No pods to show. The notes below say why.</p>}
      />
    </section>
  );
}

function Proxies({ page, query }: { page: HealthPage; query: Record<string, string> }) {
  if (!page.versions) {
    return (
      <section class="card" aria-labelledby="proxies">
        <h2 id="proxies">Proxies</h2>
        <p class="aside-note">
          <Icon name="lock" /> You may not list their pods. The notes below say more.
        </p>
      </section>
    );
  }
  const total = page.versions.reduce((sum, v) => sum + v.proxies, 0);
  const outdated = page.versions.reduce((sum, v) => sum + (v.current ? 0 : v.proxies), 0);
  const namespace = query.namespace ? quote(query.namespace) : '';
  const flags = namespace ? ` -n ${namespace}` : '';
  if (total === 0 && page.outdated.length === 0) {
    return (
      <section class="card" aria-labelledby="proxies">
        <h2 id="proxies">Proxies</h2>
        <Empty icon="unlocked" title={namespace ? 'No pod of this namespace has a proxy' : 'No pod has a proxy'}>
          <p>Annotate the namespace, so that new pods get a proxy, and restart its workloads:</p>
          <Command>{`kubectl annotate namespace ${namespace || 'NAMESPACE'} linkerd.io/inject=enabled`}</Command>
          <Command>{`kubectl rollout restart deploy,sts,ds -n ${namespace || 'NAMESPACE'}`}</Command>
        </Empty>
      </section>
    );
  }
  return (
    <section class="card" aria-labelledby="proxies">
      <h2 id="proxies">Proxies</h2>
      <ul class="versions">
        {page.versions.map((v) => (
          <li key={v.version}>
            <span>
              <Name most={24}>{v.version || 'unknown'}</Name>{' '}
              {v.current ? <Badge tone="ok">current</Badge> : <Badge tone="warning">differs</Badge>}
            </span>
            <progress value={v.proxies} max={total} class={v.current ? undefined : 'part'} aria-hidden="true" />
            <span class="number" title={`tulle version --proxy${flags}`}>
              {count(v.proxies)} <small>{v.proxies === 1 ? 'proxy' : 'proxies'}</small>
            </span>
          </li>
        ))}
      </ul>
      <Pods
        title="Proxies of another version than the control plane"
        text={
          outdated === 1
            ? 'One proxy has another version than the control plane.'
            : `${count(outdated)} proxies have another version than the control plane.`
        }
        pods={page.outdated}
        query={query}
        stale={false}
        hint={
          <>
            A restart updates a proxy:{' '}
            <Command>{`kubectl rollout restart deploy -n ${namespace || quote(page.outdated[0]?.namespace || 'NAMESPACE')}`}</Command>
          </>
        }
      />
      {page.cutOff?.length === 0 && page.outdated.length === 0 && (
        <p class="aside-note">
          <Icon name="check" /> Every proxy is connected to the control plane, and has its version.
        </p>
      )}
      {page.cutOff && (
        <Pods
          title="Proxies without a connection to the control plane"
          text={
            page.cutOff.length === 1
              ? 'One proxy has no connection to the control plane, and keeps its last configuration.'
              : `${count(page.cutOff.length)} proxies have no connection to the control plane, and keep their last configuration.`
          }
          pods={page.cutOff}
          query={query}
          stale
          hint={
            <>
              This says why: <Command>{`tulle check --proxy${flags}`}</Command>
            </>
          }
        />
      )}
      {page.more > 0 && <p class="aside-note">And {plural(page.more, 'more proxy', 'more proxies')}.</p>}
    </section>
  );
}

function Pods(props: {
  title: string;
  text: string;
  pods: ProxyPod[];
  stale: boolean;
  hint: ComponentChildren;
  query: Record<string, string>;
}) {
  if (props.pods.length === 0) return null;
  const link = (p: ProxyPod) =>
    linkTo(pathOf({ kind: 'pod', namespace: p.namespace, name: p.name }) ?? '/', props.query, { namespace: null });
  const columns: Column<ProxyPod>[] = [
    {
      key: 'name',
      title: 'Pod',
      sort: (p) => p.name,
      cell: (p) => (
        <a href={link(p)}>
          <Name most={63}>{p.name}</Name>
        </a>
      ),
    },
    { key: 'namespace', title: 'Namespace', sort: (p) => p.namespace, cell: (p) => <Name>{p.namespace}</Name> },
    { key: 'version', title: 'Version', sort: (p) => p.version, cell: (p) => <Name most={24}>{p.version}</Name> },
  ];
  if (props.stale) {
    columns.push({
      key: 'stale',
      title: 'Disconnected for',
      numeric: true,
      sort: (p) => -p.stale,
      cell: (p) => (
        <span class="number" title="tulle_control_stale_seconds">
          {seconds(p.stale)}
        </span>
      ),
    });
  }
  return (
    <>
      <p class="aside-note">
        <Icon name="warning" /> {props.text} {props.hint}
      </p>
      <Table id={props.stale ? 'cut' : 'outdated'} caption={props.title} columns={columns} rows={props.pods} rowKey={(p) => `${p.namespace}/${p.name}`} />
    </>
  );
}

// since returns the seconds from a time to that of the page.
function since(page: HealthPage, time: string): number {
  return Math.max(0, (Date.parse(page.at) - Date.parse(time)) / 1000);
}
