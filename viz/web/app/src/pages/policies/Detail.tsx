import type { PolicyCondition, PolicyLink, PolicyObject, PolicyRole, PolicyState, PolicyTraffic } from '../../api';
import { count, none } from '../../format';
import { linkTo, pathOf, withParams } from '../../link';
import { Badge, type Tone } from '../../ui/Badge';
import { Command } from '../../ui/Command';
import { Connections, goldenColumns, Rps } from '../../ui/Golden';
import { Icon } from '../../ui/Icon';
import { Name } from '../../ui/Name';
import { Table, type Column } from '../../ui/Table';

const tones: Record<PolicyState, Tone> = { error: 'error', warning: 'warning', pending: 'neutral', ok: 'ok', none: 'neutral' };

const roles: [PolicyRole, string][] = [
  ['parent', 'Attached to'], ['target', 'Applies to'], ['pods', 'Selects pods of'], ['backend', 'Sends requests to'],
  ['requires', 'Requires'], ['by', 'Referenced by'],
];

// Detail is all that is known of an object.
export function Detail({ object, query }: { object: PolicyObject; query: Record<string, string> }) {
  return (
    <div class="object-detail">
      {object.conditions.length > 0 && (
        <section aria-label="Status">
          <h3>Status</h3>
          <ul class="conditions">{object.conditions.map((c, i) => <Condition key={i} condition={c} />)}</ul>
        </section>
      )}
      <section aria-label="Spec">
        <h3>Spec</h3>
        <dl class="spec">
          {object.facts.map((f, i) => (
            <div key={i}>
              <dt><bdi>{f.name}</bdi></dt>
              <dd>
                {f.values.map((v, i) => <bdi key={i}>{v}</bdi>)}
                {f.more > 0 && <span class="faint">and {f.more} more</span>}
              </dd>
            </div>
          ))}
          {roles.map(([role, word]) => {
            const links = object.links.filter((l) => l.role === role);
            if (links.length === 0) return null;
            return (
              <div key={role}>
                <dt>{word}</dt>
                <dd>{links.map((l, i) => <LinkTo key={i} link={l} query={query} />)}</dd>
              </div>
            );
          })}
          {object.moreLinks > 0 && <div><dt>Other objects</dt><dd class="faint">{count(object.moreLinks)} more</dd></div>}
        </dl>
      </section>
      {object.traffic && object.traffic.length > 0 && (
        <section aria-label="Traffic">
          <h3>Traffic in the time window</h3>
          <Table id="traffic" caption={`The requests of ${object.kind} ${object.name}`} columns={columns} rows={object.traffic}
            rowKey={(t) => [t.result, t.unit, t.server, t.route, t.authorization, t.service?.namespace, t.service?.name, t.port].join('|')} />
        </section>
      )}
      {object.traffic?.length === 0 && <p class="faint">Nothing matched it in the time window.</p>}
      <Command>{object.command}</Command>
    </div>
  );
}

function Condition({ condition: c }: { condition: PolicyCondition }) {
  return (
    <li>
      <Badge tone={tones[c.state]}><span><bdi>{c.type}</bdi>: {c.status}</span></Badge>
      <div>
        {c.parent && <p class="soft">on <bdi>{c.parent}</bdi>, by <bdi>{c.controller}</bdi></p>}
        {(c.message || c.reason !== c.type) && <p><bdi>{c.message || c.reason}</bdi></p>}
        {c.state === 'pending' && <p class="faint">This is about an earlier generation of the object.</p>}
      </div>
    </li>
  );
}

const results = { allowed: 'Allowed', denied: 'Denied', routed: 'Routed', limited: 'Over the limit' };

// refused reports whether the requests did not pass.
export const refused = (t: PolicyTraffic) => t.result === 'denied' || t.result === 'limited';

const unknown = <span class="number faint">{none}</span>;

// columns are those of golden metrics, with the denials apart, as in the command.
const columns: Column<PolicyTraffic>[] = [
  { key: 'result', title: 'Result', cell: (t) => (
    <span class={refused(t) ? 'denied' : undefined}>
      {refused(t) && <Icon name="denied" />} {results[t.result]}
      {t.unit === 'connection' && <small> connections</small>}
    </span>
  ) },
  { key: 'where', title: 'Where', cell: (t) => <Where traffic={t} /> },
  { key: 'by', title: 'Allowed by', cell: (t) => t.authorization ? <Name most={32}>{t.authorization}</Name> : unknown },
  ...goldenColumns<PolicyTraffic>((t) => t, (t) => t.command).map((c) => c.key !== 'rps' ? c
    : { ...c, cell: (t: PolicyTraffic) => refused(t) ? unknown : <Amount traffic={t} /> }),
  { key: 'denied', title: 'Denied', numeric: true, cell: (t) => refused(t) ? <Amount traffic={t} /> : unknown },
];

function Amount({ traffic: t }: { traffic: PolicyTraffic }) {
  return t.unit === 'request' ? <Rps value={t.rps} title={t.command} /> : <Connections value={t.rps} title={t.command} />;
}

// Where is the place at which requests met the object.
function Where({ traffic: t }: { traffic: PolicyTraffic }) {
  const parts = t.service ? [`${t.service.name}:${t.port}`, t.route] : [t.server, t.route];
  return (
    <>
      {parts.filter((p) => p !== '').map((p, i) => (
        <span key={i}>{i > 0 && <small> route </small>}<Name most={28}>{p}</Name></span>
      ))}
    </>
  );
}

const shortKinds: Record<string, string> = { deployment: 'deploy', statefulset: 'sts', daemonset: 'ds', service: 'svc',
  namespace: 'ns' };

// LinkTo leads to another object: to its page, or to its place on this page.
export function LinkTo({ link, query, short }: { link: PolicyLink; query: Record<string, string>; short?: boolean }) {
  const path = pathOf(link);
  const address = link.missing ? null
    : link.id !== '' ? withParams('/policies', { ...query, open: link.id, show: null, search: null })
      : path && linkTo(path, query, link.kind === 'namespace' ? { namespace: link.name } : { namespace: null });
  const text = (
    <>
      <small>{shortKinds[link.kind] ?? link.kind}</small> <Name most={short ? 28 : 60}>{link.name}</Name>
      {link.port && <small>:{link.port}</small>}
    </>
  );
  return (
    <span class={link.missing ? 'link missing' : 'link'}>
      {link.missing && <Icon name="warning" />}
      {address ? <a href={address}>{text}</a> : <span>{text}</span>}
      {link.missing && <small>not found</small>}
      {link.detail && <small>{link.detail}</small>}
    </span>
  );
}
