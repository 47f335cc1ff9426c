// The requests and connections of a watch, from its messages. The list is bounded: the oldest go first.
import type { TapDuration, TapEvent, TapHeader, TapID, TapMessage, TapPeer } from '../../api';

// Row is one request or connection. It never changes: an event makes a new one.
export interface Row {
  key: string;
  number: number; // counts all requests and connections, from 1
  at: number; // when it began, in milliseconds since 1970, by the clock of the proxy's node
  inbound: boolean;
  proxy: string;
  source: TapPeer;
  destination: TapPeer;
  route: Record<string, string> | null;
  server: string;
  authorization: string;
  request: { method: string; scheme: string; authority: string; path: string } | null; // null for a connection
  requestHeaders: Headers;
  response: { status: number; after: number; headers: Headers } | null; // null before its head
  end: End | null; // null while it runs
  cut: boolean; // whether the watch ended before this row did
}

export interface Headers {
  lines: TapHeader[];
  omitted: number;
}

// End is how a request or connection ended. Times are milliseconds.
export interface End {
  after: number; // since the request's head
  sent: number; // bytes of the client
  received: number;
  trailers: TapHeader[];
  grpc: number | null;
  error: string;
  attempts: number;
}

// View is the state of the list at one moment.
export interface View {
  rows: Row[]; // oldest first
  total: number; // requests and connections received
  dropped: number; // those that the list no longer has
  lost: number; // events that were not read in time
  skipped: number; // requests over the limit of the rate
  watching: number | null; // proxies; null before they have answered
  missing: { proxy: string; text: string }[]; // proxies that are not watched, or no longer
}

export const maxRows = 500;
const maxMissing = 20;

// Log takes the messages of a watch.
export class Log {
  private rows = new Map<string, Row>();
  private total = 0;
  private dropped = 0;
  private lost = 0;
  private skipped = 0;
  private watching: number | null = null;
  private missing = new Map<string, string>();
  private watch = 0; // numbers of proxies begin again with each watch
  changed = false; // since the last view

  constructor(private readonly most = maxRows) {}

  // begin starts another watch. Rows that have not ended are cut: their end will not be seen.
  begin() {
    this.watch++;
    this.watching = null;
    this.missing.clear();
    for (const [key, row] of this.rows) if (!row.end && !row.cut) this.rows.set(key, { ...row, cut: true });
    this.changed = true;
  }

  // clear forgets the rows.
  clear() {
    this.rows.clear();
    this.total = this.dropped = this.lost = this.skipped = 0;
    this.changed = true;
  }

  add(message: TapMessage) {
    this.changed = true;
    if (message.watching !== undefined) this.watching = message.watching;
    if (message.event) this.addEvent(message.event);
    const notice = message.notice;
    if (!notice) return;
    switch (notice.kind) {
      case 'lost':
        this.lost += notice.count ?? 0;
        break;
      case 'skipped':
        this.skipped += notice.count ?? 0;
        break;
      case 'ended':
        if (this.watching) this.watching--;
        this.miss(notice.proxy, notice.text ?? '');
        break;
      default:
        this.miss(notice.proxy, notice.text ?? '');
    }
  }

  private miss(proxy: string, text: string) {
    if (this.missing.size < maxMissing) this.missing.set(proxy, text);
  }

  private addEvent(e: TapEvent) {
    const part =
      e.requestInitEvent ??
      e.responseInitEvent ??
      e.responseEndEvent ??
      e.connectionOpenEvent ??
      e.connectionCloseEvent;
    if (!part) return;
    const key = this.keyOf(part.id);
    const known = this.rows.get(key);
    if (e.requestInitEvent || e.connectionOpenEvent) {
      if (!known) this.insert(newRow(key, ++this.total, e));
      return;
    }
    if (!known) return; // its begin was lost, or the list no longer has it
    // The last endpoint of a request that was sent again is in its last event.
    const row: Row = {
      ...known,
      source: merged(known.source, e.source),
      destination: merged(known.destination, e.destination),
      route: e.routeMeta ?? known.route,
      server: e.server || known.server,
      authorization: e.authorization || known.authorization,
    };
    const head = e.responseInitEvent;
    if (head) {
      row.response = { status: head.httpStatus, after: milliseconds(head.sinceRequestInit), headers: headersOf(head) };
    }
    const end = e.responseEndEvent;
    if (end) {
      row.end = {
        after: milliseconds(end.sinceRequestInit),
        sent: end.requestBytes,
        received: end.responseBytes,
        trailers: end.trailers ?? [],
        grpc: end.grpc ? end.grpcStatusCode : null,
        error: end.error ?? '',
        attempts: end.attempts ?? 0,
      };
    }
    const close = e.connectionCloseEvent;
    if (close) {
      row.end = {
        after: milliseconds(close.sinceOpen),
        sent: close.writeBytes,
        received: close.readBytes,
        trailers: [],
        grpc: null,
        error: close.error ?? '',
        attempts: 0,
      };
    }
    this.rows.set(key, row);
  }

  private keyOf(id: TapID): string {
    return `${this.watch}-${id.base}-${id.stream}`;
  }

  private insert(row: Row) {
    this.rows.set(row.key, row);
    if (this.rows.size <= this.most) return;
    this.rows.delete(this.rows.keys().next().value!);
    this.dropped++;
  }

  // view returns what there is now.
  view(): View {
    this.changed = false;
    return {
      rows: [...this.rows.values()],
      total: this.total,
      dropped: this.dropped,
      lost: this.lost,
      skipped: this.skipped,
      watching: this.watching,
      missing: [...this.missing].map(([proxy, text]) => ({ proxy, text })),
    };
  }
}

function newRow(key: string, number: number, e: TapEvent): Row {
  const r = e.requestInitEvent;
  return {
    key,
    number,
    at: instant(e.timestamp),
    inbound: e.proxyDirection === 'INBOUND',
    proxy: e.proxy,
    source: e.source,
    destination: e.destination,
    route: e.routeMeta,
    server: e.server ?? '',
    authorization: e.authorization ?? '',
    request: r ? { method: r.method, scheme: r.scheme, authority: r.authority, path: r.path } : null,
    requestHeaders: r ? headersOf(r) : { lines: [], omitted: 0 },
    response: null,
    end: null,
    cut: false,
  };
}

function headersOf(from: { headers: TapHeader[] | null; headersOmitted?: number }): Headers {
  return { lines: from.headers ?? [], omitted: from.headersOmitted ?? 0 };
}

// merged returns the later knowledge of an end; an event that knows nothing takes nothing away.
function merged(old: TapPeer, now: TapPeer): TapPeer {
  return now.ip === '' || (now.ip === old.ip && Object.keys(now.metadata).length < Object.keys(old.metadata).length)
    ? old
    : now;
}

// instant returns a time in milliseconds since 1970. Date knows no fractions of them, but two hops may be closer.
export function instant(time: string): number {
  return Date.parse(time) + Number(`0.${/\.\d{3}(\d+)/.exec(time)?.[1] ?? '0'}`);
}

export function milliseconds(d: TapDuration): number {
  return (d.seconds ?? 0) * 1000 + (d.nanos ?? 0) / 1e6;
}

// failed reports whether a request or connection failed, as the success rate counts it.
export function failed(row: Row): boolean {
  return (row.response?.status ?? 0) >= 500 || (row.end?.error ?? '') !== '' || (row.end?.grpc ?? 0) !== 0;
}

// matches reports whether one of the names or texts of a row has the text, in any case.
export function matches(row: Row, text: string): boolean {
  if (text === '') return true;
  const { metadata: from } = row.source;
  const { metadata: to } = row.destination;
  const texts = [
    row.request?.method,
    row.request?.authority,
    row.request?.path,
    String(row.response?.status ?? ''),
    row.proxy,
    row.source.ip,
    row.destination.ip,
    row.end?.error,
    row.server,
    row.authorization,
    ...Object.values(from),
    ...Object.values(to),
  ];
  return texts.some((t) => t?.toLowerCase().includes(text));
}
