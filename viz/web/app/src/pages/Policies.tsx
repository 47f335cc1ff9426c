import { useEffect } from 'preact/hooks';
import type { PoliciesPage, PolicyObject, PolicyState, PolicyTraffic } from '../api';
import { none, plural } from '../format';
import { linkTo, usePageQuery, withParams } from '../link';
import type { PageProps } from '../pages';
import { quote } from '../quote';
import { useStream } from '../stream';
import { Badge, type Tone } from '../ui/Badge';
import { Command } from '../ui/Command';
import { Empty } from '../ui/Empty';
import { Connections, Rps, Success } from '../ui/Golden';
import { Icon } from '../ui/Icon';
import { Name } from '../ui/Name';
import { PageFrame } from '../ui/Page';
import { SearchField } from '../ui/SearchField';
import { Table, type Column } from '../ui/Table';
import { Denials } from './policies/Denials';
import { Detail, LinkTo, refused } from './policies/Detail';
import './Policies.css';

export const states: Record<PolicyState, { word: string; tone: Tone; help: string }> = {
  error: { word: 'Not accepted', tone: 'error', help: 'A condition of the status says that the object does not apply' },
  warning: { word: 'Partly ignored', tone: 'warning', help: 'A part of the object has no effect' },
  pending: { word: 'Pending', tone: 'neutral', help: 'The control plane has not evaluated the latest change' },
  ok: { word: 'Accepted', tone: 'ok', help: 'All conditions of the status are good' },
  none: { word: 'No status', tone: 'neutral', help: 'No controller reports on this object' },
};

// The groups of kinds by which viewers narrow the page. The first has all kinds.
const groups: { key: string; word: string; has: (o: PolicyObject) => boolean }[] = [
  { key: '', word: 'All', has: () => true },
  { key: 'problems', word: 'Need attention', has: (o) => o.state === 'error' || o.state === 'warning' },
  { key: 'routes', word: 'Routes', has: (o) => /Route$|^ServiceProfile$|^ReferenceGrant$/.test(o.kind) },
  { key: 'servers', word: 'Servers', has: (o) => o.kind === 'Server' },
  { key: 'authorizations', word: 'Authorizations', has: (o) => /Authorization$|^AuthorizationPolicy$/.test(o.kind) },
  { key: 'authentications', word: 'Authentications', has: (o) => /Authentication$/.test(o.kind) },
  { key: 'limits', word: 'Rate limits', has: (o) => /RateLimitPolicy$/.test(o.kind) },
];

export default function Policies({ query }: PageProps) {
  const namespace = query.namespace ?? '';
  const live = useStream<PoliciesPage>('policies', { namespace, window: query.window });
  return (
    <PageFrame title="Routes and policies" live={live}
      sub={namespace === '' ? 'Where requests go and who may call, in every namespace'
        : <>Where requests go and who may call, in <Name>{namespace}</Name></>}>
      {(page) => page.objects.length + page.denials.length === 0 ? <Nothing query={query} /> : (
        <>
          {page.denials.length > 0 && <Denials page={page} query={query} />}
          <Objects page={page} query={query} />
        </>
      )}
    </PageFrame>
  );
}

// Nothing says how a namespace gets its first policies.
function Nothing({ query }: { query: Record<string, string> }) {
  const namespace = query.namespace ?? '';
  return (
    <Empty icon="unlocked" title="No routes and no policies">
      <p>Requests go where they are sent, and the default inbound policy decides who may call. To allow the clients that call
        now and no others, begin with:</p>
      <Command>{`tulle policy learn -n ${quote(namespace || 'NAMESPACE')} -t 1h`}</Command>
      {namespace !== '' && <p><a href={linkTo('/policies', query, { namespace: null })}>Show every namespace.</a></p>}
    </Empty>
  );
}

function Objects({ page, query }: { page: PoliciesPage; query: Record<string, string> }) {
  const [, change] = usePageQuery();
  const text = query.search ?? '';
  const group = groups.find((g) => g.key === query.show) ?? groups[0]!;
  const shown = page.objects.filter((o) => group.has(o) && matches(o, text));
  useEffect(() => {
    if (query.open) document.getElementById(query.open)?.scrollIntoView({ block: 'nearest' });
  }, [query.open]);
  return (
    <section class="objects" aria-labelledby="objects">
      <div class="section-head">
        <h2 id="objects">Objects</h2>
        <SearchField label="Search objects" value={text} onInput={(search) => change({ search })} />
      </div>
      <div class="chips" role="group" aria-label="Kinds of objects">
        {groups.map((g) => {
          const n = page.objects.filter(g.has).length;
          if (n === 0 && g.key !== '' && g !== group) return null;
          return (
            <button key={g.key} type="button" aria-pressed={g === group} onClick={() => change({ show: g.key })}
              class={g.key === 'problems' && n > 0 ? 'chip warning' : 'chip'}>
              {g.key === 'problems' && <Icon name="warning" />}{g.word} <small>{n}</small>
            </button>
          );
        })}
      </div>
      <Elsewhere page={page} query={query} />
      <Table id="objects" caption="The objects, their status and their requests" columns={columnsOf(query)} rows={shown}
        rowKey={(o) => o.id} detail={(o) => o.id === query.open && <Detail object={o} query={query} />}
        empty={<Empty icon="search" title="No object matches">
          <p><button type="button" class="button" onClick={() => change({ search: null, show: null })}>Show all objects</button></p>
        </Empty>} />
      {page.more > 0 && <p class="faint">{plural(page.more, 'object')} more. Choose a namespace to see them.</p>}
    </section>
  );
}

// Elsewhere says where the object of the link is if the page does not have it.
function Elsewhere({ page, query }: { page: PoliciesPage; query: Record<string, string> }) {
  const [definition = '', namespace = '', name = ''] = (query.open ?? '').split('/');
  const known = !definition.includes('.') || page.objects.some((o) => o.id === query.open);
  if (known || name === '') return null;
  return (
    <div class="card elsewhere" role="status">
      <p>
        <Icon name="search" /> <Name>{name}</Name> is not among these objects: it is gone, or the page leaves it out.{' '}
        {query.namespace !== namespace && (
          <a href={withParams('/policies', { ...query, namespace, show: null, search: null })}>Look in <Name>{namespace}</Name></a>
        )}
      </p>
      <Command>{`kubectl get ${quote(definition)} ${quote(name)} -n ${quote(namespace)} -o yaml`}</Command>
    </div>
  );
}

function matches(o: PolicyObject, text: string): boolean {
  return [o.name, o.kind, ...o.links.map((l) => l.name)].some((s) => s.toLowerCase().includes(text));
}

// sum adds the rates of one kind of result; null if they are not known.
function sum(o: PolicyObject, has: (t: PolicyTraffic) => boolean): number | null {
  return o.traffic && o.traffic.filter(has).reduce((all, t) => all + t.rps, 0);
}

// passed is the rate of requests that an object allowed or routed.
const passed = (o: PolicyObject) => sum(o, (t) => !refused(t) && t.unit === 'request');
const denied = (o: PolicyObject) => sum(o, refused);
const opened = (o: PolicyObject) => sum(o, (t) => !refused(t) && t.unit === 'connection');

// lowest returns the lowest success rate of an object's requests.
function lowest(o: PolicyObject): number | null {
  const all = (o.traffic ?? []).map((t) => t.success).filter((s) => s !== null);
  return all.length === 0 ? null : Math.min(...all);
}

function sourceOf(o: PolicyObject): string | undefined {
  return o.traffic?.[0]?.command;
}

function columnsOf(query: Record<string, string>): Column<PolicyObject>[] {
  const unknown = <span class="faint" title="No numbers are about this object">{none}</span>;
  return [
    { key: 'name', title: 'Object', sort: (o) => o.name, cell: (o) => <Disclosure object={o} query={query} /> },
    { key: 'state', title: 'Status', sort: (o) => Object.keys(states).indexOf(o.state), cell: (o) =>
      <Badge tone={states[o.state].tone} title={states[o.state].help}>{states[o.state].word}</Badge> },
    { key: 'applies', title: 'Applies to', cell: (o) => <AppliesTo object={o} query={query} /> },
    { key: 'passed', title: 'Requests', numeric: true, help: 'Requests that it allowed or routed', sort: (o) => -(passed(o) ?? -1),
      cell: (o) => {
        const requests = passed(o), connections = opened(o);
        if (requests === null || /RateLimitPolicy$/.test(o.kind)) return unknown;
        return requests === 0 && connections ? <Connections value={connections} title={sourceOf(o)} />
          : <Rps value={requests} title={sourceOf(o)} />;
      } },
    { key: 'success', title: 'Lowest success', numeric: true, help: 'The lowest success rate of its requests',
      sort: (o) => lowest(o) ?? 2, cell: (o) => <Success value={lowest(o)} title={sourceOf(o)} /> },
    { key: 'denied', title: 'Denials', numeric: true, help: 'Requests and connections that policy denied or a rate limit refused',
      sort: (o) => -(denied(o) ?? -1), cell: (o) => {
        const rate = denied(o);
        const title = o.traffic?.find(refused)?.command ?? sourceOf(o);
        if (rate === null || /^(ServiceProfile|TLSRoute|TCPRoute)$/.test(o.kind)) return unknown;
        return rate > 0 ? <span class="denied"><Icon name="denied" /> <Rps value={rate} title={title} /></span>
          : <span class="number faint" title={title}>0</span>;
      } },
  ];
}

// Disclosure is the name of an object, which opens its detail.
function Disclosure({ object, query }: { object: PolicyObject; query: Record<string, string> }) {
  const [, change] = usePageQuery();
  const open = query.open === object.id;
  return (
    <button type="button" class="disclosure" id={object.id} aria-expanded={open}
      onClick={() => change({ open: open ? null : object.id })}>
      <Icon name={open ? 'down' : 'right'} />
      <span>
        <Name most={36}>{object.name}</Name>
        <small>
          {object.kind}{!query.namespace && <> in <Name most={24}>{object.namespace}</Name></>}
        </small>
      </span>
    </button>
  );
}

const applies = ['parent', 'target', 'pods'];

// AppliesTo is the first objects that an object is about.
function AppliesTo({ object, query }: { object: PolicyObject; query: Record<string, string> }) {
  const own = object.links.filter((l) => applies.includes(l.role));
  const shown = own.length > 0 ? own : object.links.filter((l) => l.role === 'by');
  if (shown.length === 0) return <span class="faint">{object.kind === 'Server' ? 'no pod' : none}</span>;
  return (
    <span class="applies">
      {own.length === 0 && <span class="faint">referenced by</span>}
      {shown.slice(0, 2).map((l) => <LinkTo key={`${l.kind}/${l.namespace}/${l.name}:${l.port}`} link={l} query={query} short />)}
      {shown.length > 2 && <span class="faint">and {shown.length - 2}{object.moreLinks > 0 && ' or'} more</span>}
    </span>
  );
}
