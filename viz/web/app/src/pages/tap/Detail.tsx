import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { TapHeader, TapPeer } from '../../api';
import { useConfig } from '../../config';
import { count, plural } from '../../format';
import { linkTo } from '../../link';
import { Badge } from '../../ui/Badge';
import { Command, CopyButton } from '../../ui/Command';
import { Icon } from '../../ui/Icon';
import { Name } from '../../ui/Name';
import { barsOf, hopsOf, traceOf } from './hops';
import type { Headers, Row } from './log';
import { commandOf, isNamespace, targetOf, type Params } from './query';
import { curlOf, redacted } from './curl';
import { addressOf, bytes, isMeshTLS, linkOf, nameOf, OutcomeBadge, span, timeOf, tlsOf, workloadOf } from './show';

// Detail is all that is known of one request or connection.
export function Detail(props: { row: Row; rows: Row[]; params: Params; onClose: () => void }) {
  const { row, params } = props;
  const root = useRef<HTMLElement>(null);
  useEffect(() => {
    const key = (e: KeyboardEvent) => e.key === 'Escape' && props.onClose();
    root.current!.addEventListener('keydown', key);
    return () => root.current?.removeEventListener('keydown', key);
  });
  useEffect(() => { // on a small screen it hides the list
    if (getComputedStyle(root.current!).position === 'fixed') root.current!.querySelector('button')?.focus();
  }, []);
  return (
    <section class="tap-detail card" ref={root} aria-label="The request in detail">
      <header>
        <div>
          <h2>
            {row.request ? row.request.method : 'TCP connection'} <OutcomeBadge row={row} />
          </h2>
          {row.request && (
            <p class="tap-url">
              <bdi>{row.request.path || '/'}</bdi>
            </p>
          )}
        </div>
        <button
          type="button"
          class="icon-button"
          aria-label="Close the detail"
          title="Close (Esc)"
          onClick={props.onClose}
        >
          <Icon name="close" />
        </button>
      </header>
      <div class="tap-parts">
        <Facts row={row} params={params} />
        <Timings row={row} rows={props.rows} whole={isNamespace(targetOf(params)!.kind)} />
        {row.request && <HeaderTable title="Request headers" headers={row.requestHeaders} />}
        {row.response && <HeaderTable title="Response headers" headers={row.response.headers} />}
        {(row.end?.trailers.length ?? 0) > 0 && (
          <HeaderTable title="Trailers" headers={{ lines: row.end!.trailers, omitted: 0 }} />
        )}
        <Copies row={row} params={params} />
      </div>
    </section>
  );
}

function Facts({ row, params }: { row: Row; params: Params }) {
  const { end } = row;
  const identity = row.inbound ? row.source.metadata.client_id : row.destination.metadata.server_id;
  const reason = tlsOf(row);
  const route = row.route && [row.route.kind, row.route.route].filter(Boolean).join('/');
  const facts: [string, ComponentChildren][] = [
    ['From', <Peer peer={row.source} params={params} />],
    ['To', <Peer peer={row.destination} params={params} />],
    [
      'Seen by',
      <>
        the proxy of <Name most={44}>{row.proxy}</Name>, {row.inbound ? 'inbound' : 'outbound'}
      </>,
    ],
    ['Began', <time dateTime={new Date(row.at).toISOString()}>{timeOf(row)}</time>],
    [
      'Security',
      isMeshTLS(row) ? (
        <>
          <Badge tone="ok" icon="lock">
            mesh TLS
          </Badge>{' '}
          {identity && (
            <small class="tap-line">
              <Name most={64}>{identity}</Name>
            </small>
          )}
        </>
      ) : (
        <Badge tone="neutral" icon="unlocked" title={reason && `The label tls is ${reason}`}>
          {reason ? `no mesh TLS: ${reason.replaceAll('_', ' ')}` : 'no mesh TLS'}
        </Badge>
      ),
    ],
  ];
  if (row.request?.authority) facts.push(['Authority', <bdi>{row.request.authority}</bdi>]);
  if (route) facts.push(['Route', <Name most={44}>{route}</Name>]);
  if (row.server) facts.push(['Server', <Name most={44}>{row.server}</Name>]);
  if (row.authorization) facts.push(['Allowed by', <Name most={44}>{row.authorization}</Name>]);
  if (end) {
    facts.push([
      'Bytes',
      <>
        {bytes(end.sent)} sent, {bytes(end.received)} received
      </>,
    ]);
    if (end.attempts > 1) facts.push(['Attempts', plural(end.attempts, 'attempt')]);
    if (end.error) facts.push(['Failure', <span class="error-text">{end.error.replaceAll('_', ' ')}</span>]);
  }
  return (
    <dl class="tap-facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Peer({ peer, params }: { peer: TapPeer; params: Params }) {
  const link = linkOf(peer);
  const namespace = peer.metadata.namespace;
  const pod = peer.metadata.pod;
  const name = nameOf(peer);
  const shown = <Name most={44}>{namespace && name !== addressOf(peer) ? `${namespace}/${name}` : name}</Name>;
  const small = [pod && pod !== name ? pod : '', peer.ip && name !== addressOf(peer) ? addressOf(peer) : ''].filter(
    Boolean,
  );
  return (
    <>
      {link ? (
        <a href={linkTo(link, { window: params.window ?? '' })} title={workloadOf(peer)?.kind}>
          {shown}
        </a>
      ) : (
        shown
      )}
      {small.map((text) => (
        <small key={text} class="tap-line">
          <Name most={52}>{text}</Name>
        </small>
      ))}
    </>
  );
}

// Timings is a bar for each proxy that saw the request: the wait for the response's head, and then its body.
function Timings({ row, rows, whole }: { row: Row; rows: Row[]; whole: boolean }) {
  const config = useConfig();
  const hops = hopsOf(row, rows);
  const { bars, length } = barsOf(hops);
  const trace = traceOf(row);
  const proxies = new Set(hops.map((h) => h.proxy)).size;
  return (
    <section aria-labelledby="timings">
      <h3 id="timings">
        Time at each hop <small>{span(length)}</small>
      </h3>
      <ol class="tap-hops">
        {hops.map((h, i) => (
          <li key={h.key} class={h.key === row.key ? 'own' : undefined}>
            <div class="tap-hop">
              <span title={`Seen by the proxy of ${h.proxy}`}>
                <Icon name={h.inbound ? 'received' : 'sent'} />{' '}
                <Name most={28}>{h.inbound ? nameOf(h.destination) : nameOf(h.source)}</Name>{' '}
                <span class="soft">
                  {h.inbound ? (
                    'received'
                  ) : (
                    <>
                      sent to <Name most={24}>{nameOf(h.destination)}</Name>
                    </>
                  )}
                </span>
              </span>
              <span class="number">{timesOf(h)}</span>
            </div>
            <div class="tap-axis" aria-hidden="true">
              <div class="wait" style={{ left: `${bars[i]!.left}%`, width: `${bars[i]!.wait}%` }} />
              <div class="body" style={{ left: `${bars[i]!.left + bars[i]!.wait}%`, width: `${bars[i]!.body}%` }} />
            </div>
          </li>
        ))}
      </ol>
      <p class="tap-hint">
        {row.request ? (
          <>
            <i class="key wait" /> until the response begins <i class="key body" /> until its end.{' '}
          </>
        ) : null}
        {trace === '' && hops.length > 1 && 'The two sides are matched by client, server, path and time. '}
        {proxies > 1 && 'Clocks of different nodes may differ by some milliseconds. '}
        {row.request &&
          hops.length === 1 &&
          (whole
            ? 'The other proxy’s side is not in the list, or several requests may be it. '
            : 'Only this proxy’s side is in the list. Watch the namespace to see both sides.')}
      </p>
      {trace && config?.traceURL && (
        <p>
          <a class="button" href={config.traceURL + encodeURIComponent(trace)} target="_blank" rel="noreferrer">
            Open the trace <Icon name="external" />
          </a>
        </p>
      )}
      {trace && (
        <p class="tap-hint">
          Trace <code>{trace}</code>
        </p>
      )}
    </section>
  );
}

function timesOf(row: Row): string {
  if (!row.request) return row.end ? span(row.end.after) : 'open';
  const after = row.response && `${span(row.response.after)} to the response`;
  if (!row.end) return after || 'waiting';
  return row.response
    ? `${span(row.response.after)} + ${span(Math.max(0, row.end.after - row.response.after))}`
    : span(row.end.after);
}

function HeaderTable({ title, headers }: { title: string; headers: Headers }) {
  return (
    <details open class="tap-headers">
      <summary>
        <Icon name="right" /> {title} <small>{count(headers.lines.length)}</small>
      </summary>
      {headers.lines.length === 0 && <p class="tap-hint">None</p>}
      <dl>
        {headers.lines.map((h, i) => (
          <div key={i}>
            <dt>
              <bdi>{h.name}</bdi>
            </dt>
            <dd>
              <Value header={h} />
            </dd>
          </div>
        ))}
      </dl>
      {headers.omitted > 0 && <p class="tap-hint">The proxy left out {plural(headers.omitted, 'more line')}.</p>}
    </details>
  );
}

function Value({ header }: { header: TapHeader }) {
  if (header.valueStr === redacted) {
    return (
      <span class="tap-redacted" title="The proxy hides this value">
        <Icon name="lock" /> redacted
      </span>
    );
  }
  return <bdi>{header.valueStr}</bdi>;
}

// Copies has what people can copy: the request as curl, and the command that shows requests like it.
function Copies({ row, params }: { row: Row; params: Params }) {
  const target = targetOf(params)!;
  const curl = curlOf(row);
  const path = row.request?.path.split('?')[0];
  const command = commandOf(
    {
      ...params,
      method: row.request?.method ?? params.method,
      authority: row.request?.authority ?? params.authority,
      path: path ?? params.path,
    },
    target,
  );
  return (
    <section aria-labelledby="copies">
      <h3 id="copies">Copy</h3>
      {curl && (
        <>
          <p class="tap-copy">
            <CopyButton text={curl.command} label="Copy as curl" />
          </p>
          {curl.missing.length > 0 && <p class="tap-hint">Without {list(curl.missing)}.</p>}
        </>
      )}
      <p class="tap-hint">{row.request ? 'Requests like this in a terminal:' : 'The same in a terminal:'}</p>
      <p class="tap-copy">
        <Command>{command}</Command>
      </p>
    </section>
  );
}

function list(parts: string[]): string {
  return parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`;
}
