import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TopologyEdge, TopologyNode, TopologyPage } from '../../api';
import { describe, describeNode, matches, nameOf, select, summaryOf, widthOf, withoutProxy } from './graph';

const node = (kind: string, name: string, more: Partial<TopologyNode> = {}): TopologyNode => ({ id: `${kind}/shop/${name}`, kind,
  namespace: 'shop', name, success: null, rps: 0, p50: null, p95: null, p99: null, numbersKnown: true, tcpOpen: null, meshed: 1, pods: 1,
  command: '', ...more });
const edge = (from: TopologyNode, to: TopologyNode, more: Partial<TopologyEdge> = {}): TopologyEdge => ({ id: `${from.id}>${to.id}`,
  from: from.id, to: to.id, success: null, rps: 0, p50: null, p95: null, p99: null, tcpOpen: null, readBytes: 0, writeBytes: 0,
  security: 'mtls', links: [], command: '', securityCommand: '', ...more });

const web = node('deployment', 'web', { rps: 12.34, success: 0.93, p99: 45 });
const api = node('deployment', 'api', { meshed: 0 });
const clients = node('unmeshed', '', { namespace: '', pods: 0, meshed: 0, numbersKnown: false });

test('a node says what it is, also to those who do not see it', () => {
  assert.equal(summaryOf(web), '93.00% · 12.3 rps · 45 ms');
  assert.equal(describeNode(web), 'web, Deployment in namespace shop: low success, 93.00% · 12.3 rps · 45 ms');
  assert.equal(describeNode(api), 'api, Deployment in namespace shop: no proxy');
  assert.equal(nameOf(clients), 'Unmeshed clients');
  assert.ok(withoutProxy(api) && withoutProxy(clients) && !withoutProxy(web));
});

test('an edge says whether it is mTLS', () => {
  assert.equal(describe(edge(clients, web, { rps: 2, success: 1, p99: 3, security: 'plaintext' }), clients, web),
    'Unmeshed clients to web: 2.0 rps · 100.00% · 3 ms, plaintext');
});

test('wide edges have more requests, within bounds', () => {
  const widths = [0, 1, 100, 1e9].map((rps) => widthOf(edge(web, api, { rps })));
  assert.deepEqual([...widths].sort((a, b) => a - b), widths);
  assert.ok(widths[0]! >= 1 && widths[3]! <= 6);
});

test('a selection has the neighbours, and ends with its object', () => {
  const page = { nodes: [web, api, clients], edges: [edge(web, api), edge(clients, web)] } as TopologyPage;
  assert.deepEqual([...select(page, api.id)!.nodes], [api.id, web.id]);
  assert.equal(select(page, 'gone'), null);
});

test('the search finds names, namespaces and kinds', () => {
  assert.ok(matches(web, 'WE') && matches(web, 'shop/web') && matches(api, 'deploy') && !matches(api, 'web'));
});
