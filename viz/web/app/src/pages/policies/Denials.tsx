import type { PoliciesPage, PolicyDenial } from '../../api';
import { count, last, plural } from '../../format';
import { linkTo, pathOf, usePageQuery } from '../../link';
import { Command, Script } from '../../ui/Command';
import { Connections, Rps } from '../../ui/Golden';
import { Icon } from '../../ui/Icon';
import { Name } from '../../ui/Name';
import { LinkTo } from './Detail';

const firstShown = 5;

// keyOf tells denials apart in the address.
function keyOf(d: PolicyDenial): string {
  const { kind, namespace, name } = d.workload;
  return ['denied', kind, namespace, name, d.port, d.client || d.clientKind, d.route?.name ?? '', d.reason, d.unit].join('/');
}

// Denials is the clients that policy denied, the busiest first, each with what would allow it.
export function Denials({ page, query }: { page: PoliciesPage; query: Record<string, string> }) {
  const [, change] = usePageQuery();
  const open = page.denials.findIndex((d) => keyOf(d) === query.open);
  const all = query.denials === 'all' || open >= firstShown;
  const shown = all ? page.denials : page.denials.slice(0, firstShown);
  const hidden = page.denials.length - shown.length;
  return (
    <section class="denials" aria-labelledby="denials">
      <div class="section-head">
        <h2 id="denials">Denied clients</h2>
        <p class="soft">{count(page.denials.length + page.moreDenials)} in the last {last(page.window)}</p>
      </div>
      <ul class="card">{shown.map((d) => <Denial key={keyOf(d)} denial={d} query={query} />)}</ul>
      {(hidden > 0 || all) && (
        <button type="button" class="more" aria-expanded={all} onClick={() => change(all ? { denials: null, open: open < firstShown ? query.open ?? null : null } : { denials: 'all' })}>
          <Icon name={all ? 'up' : 'down'} />{all ? 'Show fewer' : `Show all ${page.denials.length}`}
        </button>
      )}
      {page.moreDenials > 0 && (
        <p class="faint">{plural(page.moreDenials, 'denial')} more. Choose a namespace to see them.</p>
      )}
    </section>
  );
}

const unnamed = { named: '', none: 'Client without identity', hidden: 'Client that you may not see',
  overflow: 'Further clients' };

function Denial({ denial: d, query }: { denial: PolicyDenial; query: Record<string, string> }) {
  const [, change] = usePageQuery();
  const key = keyOf(d);
  const open = query.open === key;
  const path = d.gone ? null : pathOf(d.workload);
  return (
    <li class="denial" id={key}>
      <Icon name="denied" />
      <div>
        <div class="denial-head">
          <h3>
            {d.client ? <Name>{d.client}</Name> : <span class="soft">{unnamed[d.clientKind]}</span>}
            <span class="soft"> to </span>
            {path ? <a href={linkTo(path, query, { namespace: null })}><Name>{d.workload.name}</Name></a>
              : <Name>{d.workload.name}</Name>}
            {d.gone && <small> which is gone</small>}
            <span class="soft">
              {' '}port <bdi>{d.port}</bdi>{!query.namespace && <> in <Name most={24}>{d.workload.namespace}</Name></>}
            </span>
          </h3>
          <code title="The reason, as in the metrics and in the log of the proxy"><bdi>{d.reason}</bdi></code>
          {d.unit === 'request' ? <Rps value={d.rps} title={d.command} /> : <Connections value={d.rps} title={d.command} />}
        </div>
        <p><bdi>{d.rule}</bdi></p>
        <button type="button" class="disclosure" aria-expanded={open} onClick={() => change({ open: open ? null : key })}>
          <Icon name={open ? 'down' : 'right'} />What would allow it
        </button>
        {open && <Remedy denial={d} query={query} />}
      </div>
    </li>
  );
}

function Remedy({ denial: d, query }: { denial: PolicyDenial; query: Record<string, string> }) {
  const decided = [d.server, d.route].filter((l) => l !== null);
  return (
    <div class="remedy">
      <p><bdi>{d.remedy}</bdi></p>
      {d.try && (
        <>
          <p class="soft">This command changes nothing. It shows which clients these objects would allow and deny. To apply
            them, give the same text to <code>kubectl apply -f -</code>.</p>
          <Script label="The command that tries it">{d.try}</Script>
        </>
      )}
      <dl class="spec">
        {decided.length > 0 && (
          <div><dt>Decided by</dt><dd>{decided.map((l) => <LinkTo key={l.kind} link={l} query={query} />)}</dd></div>
        )}
        {d.others.length > 0 && (
          <div><dt>Authorizations of other clients</dt><dd>{d.others.map((l, i) => <LinkTo key={i} link={l} query={query} />)}</dd></div>
        )}
        {d.logs && <div><dt>Log of the proxy</dt><dd><Command>{d.logs}</Command></dd></div>}
      </dl>
    </div>
  );
}
