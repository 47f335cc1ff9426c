import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TapEvent, TapMessage, TapPeer } from '../../api';
import { barsOf, hopsOf, traceOf } from './hops';
import { failed, instant, Log, matches, type Row } from './log';
import { bodyOf, commandOf, targetOf } from './query';
import { quote } from '../../quote';
import { curlOf } from './curl';
import { Lines } from './watch';

const peer = (name: string): TapPeer => ({
  ip: '10.0.0.1',
  port: 80,
  metadata: { namespace: 'shop', pod: `${name}-1`, deployment: name },
});

function event(more: Partial<TapEvent>, base = 0): TapMessage {
  return {
    event: {
      source: peer('web'),
      destination: peer('cart'),
      routeMeta: null,
      proxyDirection: base === 0 ? 'OUTBOUND' : 'INBOUND',
      proxy: base === 0 ? 'shop/web-1' : 'shop/cart-1',
      timestamp: '2026-11-30T12:00:00.000Z',
      ...more,
    },
  };
}

const id = (stream: number, base = 0) => ({ base, stream });

const begin = (stream: number, base = 0, headers: Record<string, string> = {}, path = '/a') =>
  event(
    {
      requestInitEvent: {
        id: id(stream, base),
        method: 'GET',
        scheme: 'http',
        authority: 'cart.shop',
        path,
        headers: Object.entries(headers).map(([name, valueStr]) => ({ name, valueStr })),
      },
    },
    base,
  );

const head = (stream: number, status: number, base = 0) =>
  event(
    {
      responseInitEvent: { id: id(stream, base), httpStatus: status, sinceRequestInit: { nanos: 20e6 }, headers: null },
    },
    base,
  );

const end = (stream: number, base = 0, more = {}) =>
  event(
    {
      responseEndEvent: {
        id: id(stream, base),
        sinceRequestInit: { seconds: 1, nanos: 5e6 },
        sinceResponseInit: {},
        requestBytes: 1,
        responseBytes: 2,
        trailers: null,
        grpcStatusCode: 0,
        grpc: false,
        ...more,
      },
    },
    base,
  );

function rowsOf(...messages: TapMessage[]) {
  const log = new Log();
  for (const m of messages) log.add(m);
  return log.view().rows;
}

test('the events of a request are one row', () => {
  const [row, ...rest] = rowsOf(begin(1), head(1, 200), end(1));
  assert.deepEqual(rest, []);
  assert.deepEqual(
    [row!.request!.path, row!.response!.status, row!.response!.after, row!.end!.after],
    ['/a', 200, 20, 1005],
  );
  assert.equal(failed(row!), false);
  assert.deepEqual(
    [
      rowsOf(begin(1), head(1, 503)),
      rowsOf(begin(1), end(1, 0, { error: 'timeout' })),
      rowsOf(begin(1), end(1, 0, { grpc: true, grpcStatusCode: 14 })),
      rowsOf(begin(1), head(1, 404)),
    ].map(([r]) => failed(r!)),
    [true, true, true, false],
  );
});

test('a connection that is not HTTP is a row', () => {
  const [row] = rowsOf(
    event({ connectionOpenEvent: { id: id(7) } }),
    event({ connectionCloseEvent: { id: id(7), sinceOpen: { seconds: 2 }, readBytes: 5, writeBytes: 3 } }),
  );
  assert.deepEqual([row!.request, row!.end!.after, row!.end!.sent, row!.end!.received], [null, 2000, 3, 5]);
});

test('the list is bounded, and what it lacks is counted', () => {
  const log = new Log(3);
  for (let n = 1; n <= 5; n++) log.add(begin(n));
  log.add(end(1)); // the list no longer has it
  log.add({ notice: { proxy: 'a/b', kind: 'lost', count: 4 } });
  log.add({ notice: { proxy: 'a/b', kind: 'skipped', count: 9 } });
  log.add({ notice: { proxy: 'a/c', kind: 'unreachable', text: 'no tap' } });
  log.add({ watching: 2 });
  const view = log.view();
  assert.deepEqual(
    view.rows.map((r) => r.number),
    [3, 4, 5],
  );
  assert.deepEqual([view.total, view.dropped, view.lost, view.skipped, view.watching], [5, 2, 4, 9, 2]);
  assert.deepEqual(view.missing, [{ proxy: 'a/c', text: 'no tap' }]);
});

test('another watch numbers its proxies again, and ends what the last one left open', () => {
  const log = new Log();
  log.begin();
  log.add(begin(1));
  log.begin();
  log.add(begin(1));
  assert.deepEqual(
    log.view().rows.map((r) => r.cut),
    [true, false],
  );
});

test('rows are found by any name in them', () => {
  const [row] = rowsOf(begin(1, 0, {}, '/Books'), head(1, 404));
  assert.deepEqual(
    ['', '/books', 'web', '404', 'nothing'].map((t) => matches(row!, t)),
    [true, true, true, true, false],
  );
});

test('lines may come in parts', () => {
  const lines = new Lines();
  assert.deepEqual(lines.add('{"watching":1}\n{"wat'), [{ watching: 1 }]);
  assert.deepEqual(lines.add('ching":2}\n\n'), [{ watching: 2 }]);
});

test('a link is a question to the server, and a command', () => {
  const cases: [Record<string, string>, object, string][] = [
    [
      { namespace: 'shop', resource: 'deploy/web' },
      { target: { kind: 'deploy', namespace: 'shop', name: 'web' } },
      'tulle viz tap deploy/web -n shop',
    ],
    [
      { namespace: 'shop', resource: 'ns/shop' },
      { target: { kind: 'ns', namespace: 'shop', name: 'shop' } },
      'tulle viz tap ns/shop',
    ],
    [
      { namespace: 'shop', resource: 'deploy/web', to: 'svc/api', 'to-namespace': 'data', 'max-rps': '7' },
      { to: { kind: 'svc', namespace: 'data', name: 'api' }, maxRps: 7 },
      'tulle viz tap deploy/web -n shop --to svc/api --to-namespace data --max-rps 7',
    ],
    [
      { namespace: 'shop', resource: 'deploy/web', 'to-namespace': 'data' },
      { to: { kind: 'namespace', namespace: '', name: 'data' } },
      'tulle viz tap deploy/web -n shop --to-namespace data',
    ],
    [
      { namespace: 'shop', resource: 'deploy/web', method: 'GET', path: "/a b'", direction: 'inbound' },
      { method: 'GET', path: "/a b'", direction: 'inbound' },
      `tulle viz tap deploy/web -n shop --direction inbound --method GET --path '/a b'\\'''`,
    ],
  ];
  for (const [params, body, command] of cases) {
    const target = targetOf(params)!;
    assert.deepEqual({ ...bodyOf(params, target), ...body }, bodyOf(params, target));
    assert.equal(commandOf(params, target), command);
  }
  assert.equal(targetOf({ namespace: 'shop' }), null);
});

test('a text from the cluster is one word of a shell', () => {
  const cases = [
    ['web', 'web'],
    ["it's", "'it'\\''s'"],
    ['$(rm -rf ~)', "'$(rm -rf ~)'"],
    ['', "''"],
    ['a\nb', "$'a\\x0ab'"],
    ["\u202Eabc'\\", "$'\\xe2\\x80\\xaeabc\\'\\\\'"],
  ];
  for (const [text, want] of cases) assert.equal(quote(text!), want);
});

test('curl sends what is known, and says what is missing', () => {
  const [row] = rowsOf(
    begin(
      1,
      0,
      { accept: 'text/html', authorization: '[redacted]', host: 'x', 'l5d-client-id': 'x', empty: '', '@file': 'x' },
      '/a?token=[redacted]',
    ),
    end(1),
  );
  assert.deepEqual(curlOf(row!), {
    missing: ['one redacted header', 'redacted query values', 'the body'],
    command: "curl --globoff 'http://cart.shop/a?token=[redacted]' -H 'accept: text/html' -H 'empty;'",
  });
  for (const [scheme, want] of [['HTTPS', 'https'], ['file', 'http'], ['-K/tmp/x', 'http'], ['', 'http']]) {
    const { command } = curlOf({ ...row!, request: { method: 'GET', scheme: scheme!, authority: 'cart.shop', path: '/' } })!;
    assert.match(command, new RegExp(`^curl ${want}://cart\\.shop/ `));
  }
  assert.equal(curlOf(rowsOf(event({ connectionOpenEvent: { id: id(1) } }))[0]!), null);
});

test('hops are found by the trace, or by the two ends', () => {
  const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const traced = rowsOf(begin(1, 0, { traceparent: trace }), begin(2, 1, { TraceParent: trace }, '/other'), begin(3));
  assert.equal(traceOf(traced[0]!), '4bf92f3577b34da6a3ce929d0e0e4736');
  assert.deepEqual(
    hopsOf(traced[0]!, traced).map((r) => r.number),
    [1, 2],
  );
  const plain = rowsOf(begin(1), end(1), begin(1, 1), end(1, 1));
  assert.deepEqual(
    hopsOf(plain[0]!, plain).map((r) => r.inbound),
    [false, true],
  );
  const two = rowsOf(begin(1), end(1), begin(1, 1), begin(2, 1)); // which of the two it is, nobody knows
  assert.equal(hopsOf(two[0]!, two).length, 1);
  const [client, near, far] = two as [Row, Row, Row];
  const apart = { ...far, at: far.at + 1015 }; // then it is the one that began with the client's request
  assert.deepEqual(hopsOf(client, [client, near, apart]), [client, near]);
  assert.equal(
    traceOf(rowsOf(begin(1, 0, { traceparent: '00-00000000000000000000000000000000-00f067aa0ba902b7-01' }))[0]!),
    '',
  );
});

test('bars share one axis', () => {
  const [row] = rowsOf(begin(1), head(1, 200), end(1));
  const later = { ...row!, at: row!.at + 1005 };
  assert.deepEqual(barsOf([row!, later]).length, 2010);
  assert.equal(Math.round(barsOf([row!, later]).bars[1]!.left), 50);
});

test('times keep what is finer than a millisecond', () => {
  const at = Date.parse('2026-12-01T00:07:00.581Z');
  assert.equal(instant('2026-12-01T00:07:00.581899581Z').toFixed(3), `${at}.900`);
  assert.equal(instant('2026-12-01T00:07:00Z'), at - 581);
});
