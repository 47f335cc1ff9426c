// How the parts of a request are written.
import type { Ref, TapPeer } from '../../api';
import { count } from '../../format';
import { pathOf } from '../../link';
import { Badge, type Tone } from '../../ui/Badge';
import type { IconName } from '../../ui/Icon';
import { failed, type Row } from './log';

// span writes milliseconds with the precision that matters.
export function span(ms: number): string {
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 100) return `${ms.toFixed(1)} ms`;
  if (ms < 10_000) return `${count(Math.round(ms))} ms`;
  return ms < 600_000 ? `${(ms / 1000).toFixed(1)} s` : `${count(Math.round(ms / 60_000))} min`;
}

export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(1)} kB`;
  return n < 1e9 ? `${(n / 1e6).toFixed(1)} MB` : `${(n / 1e9).toFixed(1)} GB`;
}

// timeOf writes when a row began, with milliseconds.
export function timeOf(row: Row): string {
  const at = new Date(row.at);
  return `${at.toLocaleTimeString('en-GB')}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}

// Codes of gRPC, as its documentation writes them.
const codes = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
];

export interface Outcome {
  tone: Tone;
  icon: IconName | null;
  text: string;
  title: string;
}

// outcomeOf returns how a row ended, in a word.
export function outcomeOf(row: Row): Outcome {
  const { end, response } = row;
  if (!row.request) {
    if (end?.error)
      return {
        tone: 'error',
        icon: 'error',
        text: words(end.error),
        title: `The connection failed: ${words(end.error)}`,
      };
    if (end) return { tone: 'neutral', icon: null, text: 'closed', title: 'The connection has ended' };
  } else if (end || response) {
    const status = response ? String(response.status) : '';
    const reason = end?.error ? words(end.error) : end?.grpc ? (codes[end.grpc] ?? `code ${end.grpc}`) : '';
    const bad = failed(row);
    const tone: Tone = bad ? 'error' : (response?.status ?? 0) >= 400 ? 'warning' : 'ok';
    const title = [
      status && `HTTP status ${status}`,
      end?.grpc != null && `gRPC ${codes[end.grpc] ?? end.grpc}`,
      end?.error && `failed: ${words(end.error)}`,
    ]
      .filter(Boolean)
      .join(', ');
    return {
      tone,
      icon: bad ? 'error' : null,
      text: [status, reason].filter(Boolean).join(' ') || 'no response',
      title,
    };
  }
  if (row.cut)
    return { tone: 'neutral', icon: null, text: 'not seen', title: 'The watch was interrupted before the end' };
  return { tone: 'accent', icon: 'clock', text: row.request ? 'waiting' : 'open', title: 'It has not ended yet' };
}

function words(reason: string): string {
  return reason.replaceAll('_', ' ');
}

export function OutcomeBadge({ row }: { row: Row }) {
  const { tone, icon, text, title } = outcomeOf(row);
  return (
    <Badge tone={tone} icon={icon} title={title}>
      {text}
    </Badge>
  );
}

// tookOf returns how long a row took: to its end, or to the response's head while that is all there is.
export function tookOf(row: Row): number | null {
  return row.end?.after ?? row.response?.after ?? null;
}

const owners = ['deployment', 'statefulset', 'daemonset', 'cronjob', 'job', 'replicaset', 'replicationcontroller'];

// workloadOf returns the workload of an end, or its pod; null if neither is known.
export function workloadOf(peer: TapPeer): Ref | null {
  const m = peer.metadata;
  for (const kind of [...owners, 'pod']) {
    const name = m[kind];
    if (name) return { kind, namespace: m.namespace ?? '', name };
  }
  return null;
}

// nameOf returns the shortest name that says who an end is.
export function nameOf(peer: TapPeer): string {
  return workloadOf(peer)?.name ?? peer.metadata.service ?? peer.metadata.serviceaccount ?? addressOf(peer);
}

export function addressOf(peer: TapPeer): string {
  if (!peer.ip) return 'not known';
  return peer.ip.includes(':') ? `[${peer.ip}]:${peer.port}` : `${peer.ip}:${peer.port}`;
}

// linkOf returns the page about an end; null if there is none.
export function linkOf(peer: TapPeer): string | null {
  const ref = workloadOf(peer);
  return ref && ref.namespace ? pathOf(ref) : null;
}

// isMeshTLS reports whether the connection is mesh TLS. The other end of the proxy's connection says so.
export function isMeshTLS(row: Row): boolean {
  return tlsOf(row) === 'true';
}

export function tlsOf(row: Row): string {
  return (row.inbound ? row.source : row.destination).metadata.tls ?? '';
}
