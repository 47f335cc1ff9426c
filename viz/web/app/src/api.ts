// The JSON of the server: the values of viz/board and viz/web, one block for each page.

// Golden has the golden metrics. Without requests rps is 0 and the others are null.
export interface Golden {
  success: number | null; // from 0 to 1
  rps: number;
  p50: number | null; // whole milliseconds
  p95: number | null;
  p99: number | null;
}

// Ref names an object; kind is as in "deployment". The namespace is "" for kinds without one.
export interface Ref {
  kind: string;
  namespace: string;
  name: string;
}

export type Severity = 'error' | 'warning';

// Problem is something wrong that the overview reports.
export interface Problem {
  severity: Severity;
  text: string;
  ref: Ref | null;
  page: '' | 'policies'; // the page that says more of the object's namespace; "" for the object's own
  command: string; // shows more; "" if none does
}

// Head has the fields of every page.
export interface Head {
  at: string; // RFC 3339
  window: string; // as in 1m
  notes: string[];
}

// Refusal is why a page has no value, and what the viewer can do.
export interface Refusal {
  code: 'forbidden' | 'not_found' | 'unavailable' | 'bad_request';
  message: string;
  remedy: string;
}

// Config is the answer of /api/config.
export interface Config {
  version: string;
  cluster: string; // the name of the kubeconfig's context
  namespace: string; // the one with which pages begin; "" is all
  viewer: string; // "" if not known
  grafanaURL: string; // "" if there is none
  traceURL: string;
}

// --- overview ---

// State is the state of an object, worst first: the severity of its worst problem, or ok. quiet is without traffic, and
// unmeshed without a proxy.
export type State = 'error' | 'warning' | 'ok' | 'quiet' | 'unmeshed';

export interface OverviewRow extends Golden {
  kind: string; // "namespace", or that of a workload
  namespace: string; // "" for namespaces
  name: string;
  state: State;
  meshed: number; // pods with a proxy, of pods
  pods: number;
  open: number | null; // connections that are open now
  denied: number | null; // HTTP requests per second that policy denied; null for workloads
}

export interface OverviewPage extends Head {
  namespaces: OverviewRow[]; // worst first
  workloads: OverviewRow[] | null; // those of the namespace, worst first; null for every namespace
  problems: Problem[]; // worst first
}

// --- topology ---

// The kinds of nodes that are not objects.
export type NodeKind = 'unmeshed' | 'external' | 'identity' | 'hidden' | 'pods';

export interface TopologyNode extends Golden, Ref {
  id: string;
  numbersKnown: boolean; // whether the golden metrics are known
  tcpOpen: number | null;
  meshed: number;
  pods: number; // 0 for what is not an object
  command: string; // "" if none shows the numbers
}

export interface TopologyLink {
  clientID: string;
  serverID: string;
  reason: string; // why the traffic is not mesh TLS; "" if it is
}

export interface TopologyEdge extends Golden {
  id: string;
  from: string;
  to: string;
  tcpOpen: number | null;
  readBytes: number; // per second
  writeBytes: number;
  security: 'mtls' | 'plaintext' | 'mixed' | 'external';
  links: TopologyLink[];
  command: string; // or PromQL; "" if none finds the numbers
  securityCommand: string;
}

export interface TopologyPage extends Head {
  group: 'workload' | 'namespace';
  namespaces: string[]; // none means all
  focus: Ref | null;
  nodes: TopologyNode[];
  edges: TopologyEdge[];
}

// --- policies ---

// PolicyState is the state of an object: that of its worst condition, or ok. pending means that the control plane has
// not evaluated its latest generation, and none that no controller reports on it.
export type PolicyState = Severity | 'pending' | 'ok' | 'none';

export interface PolicyCondition {
  parent: string; // of a route, as in Service/web; "" for other kinds
  controller: string;
  type: string;
  status: string;
  reason: string;
  message: string;
  state: PolicyState;
}

export type PolicyRole = 'parent' | 'backend' | 'pods' | 'target' | 'requires' | 'by';

// PolicyLink is another object, and what it is to this one.
export interface PolicyLink extends Ref {
  role: PolicyRole;
  id: string; // of a PolicyObject; "" for other kinds
  port: string;
  detail: string; // as in 2 of 3 pods
  missing: boolean;
}

// PolicyTraffic is the requests or connections that matched an object; rps is in the unit.
export interface PolicyTraffic extends Golden {
  result: 'allowed' | 'denied' | 'routed' | 'limited'; // limited: a rate limit refused them
  unit: 'request' | 'connection';
  server: string;
  route: string;
  authorization: string; // kind/name
  service: Ref | null; // to which the clients of a route sent
  port: string;
  actualSuccess: number | null; // with retries
  actualRPS: number | null;
  command: string; // or PromQL
}

export interface PolicyObject extends Ref {
  id: string; // as in servers.policy.linkerd.io/shop/web
  group: string;
  created: string;
  state: PolicyState;
  conditions: PolicyCondition[];
  facts: { name: string; values: string[]; more: number }[];
  links: PolicyLink[];
  moreLinks: number; // how many are left out
  traffic: PolicyTraffic[] | null; // null if not known
  command: string;
}

// PolicyDenial is a denied client, why, and what would allow it.
export interface PolicyDenial {
  workload: Ref;
  gone: boolean; // whether it is a pod that is no longer there
  port: string;
  client: string; // as in web.shop; "" if it is not named
  clientKind: 'named' | 'none' | 'hidden' | 'overflow';
  server: PolicyLink | null;
  accessPolicy: string;
  route: PolicyLink | null;
  reason: string;
  unit: 'request' | 'connection';
  rps: number;
  rule: string; // which rule decided
  remedy: string;
  others: PolicyLink[]; // authorizations that allow other clients there
  try: string; // a command of several lines; "" if no objects would help
  logs: string;
  command: string; // PromQL; "" if it would name a client that the viewer may not see
}

export interface PoliciesPage extends Head {
  objects: PolicyObject[]; // worst first
  more: number;
  denials: PolicyDenial[]; // the busiest first
  moreDenials: number;
}

// --- health ---

export type CheckResult = 'success' | 'warning' | 'error';

export interface CheckGroup {
  name: string;
  checks: { text: string; result: CheckResult; message: string; hint: string }[];
}

export interface HealthChecks {
  at: string;
  seconds: number; // how long it took to ask
  errors: number;
  warnings: number;
  groups: CheckGroup[];
}

// HealthCertificate is one certificate; from and to are null if it is not known, and error says why.
export interface HealthCertificate {
  part: string;
  name: string;
  serial: string;
  from: string | null;
  to: string | null;
  error: string;
}

export interface ControlPod {
  namespace: string;
  component: string;
  name: string;
  version: string;
  ready: boolean;
  status: string;
  restarts: number;
  started: string | null;
}

export interface ProxyPod {
  namespace: string;
  name: string;
  version: string;
  stale: number; // seconds
}

export interface HealthPage extends Head {
  checks: HealthChecks | null; // null before the first answer
  checking: string | null;
  certificates: HealthCertificate[];
  controlPlane: ControlPod[];
  versions: { version: string; proxies: number; current: boolean }[] | null; // null if the viewer may not list pods
  outdated: ProxyPod[];
  cutOff: ProxyPod[] | null; // null if metrics do not tell
  more: number;
}

// --- tap ---

// TapTarget is a workload whose requests can be watched, or a namespace.
export interface TapTarget extends Ref {
  pods: number; // that have not ended
  watchable: number; // that tap can watch
}

export interface TapPage extends Head {
  targets: TapTarget[];
}

// TapQuery is the body of POST /api/tap. Empty fields restrict nothing.
export interface TapQuery {
  target: Ref;
  to: Ref; // its kind is "" for every destination
  selector: string;
  maxRps: number; // 0 is 100
  direction: string; // inbound, outbound or ""
  scheme: string;
  method: string;
  authority: string;
  path: string; // what the path begins with
}

// TapMessage is one line of its answer; exactly one field is set.
export interface TapMessage {
  event?: TapEvent;
  notice?: TapNotice;
  watching?: number; // how many proxies are watched
  refusal?: Refusal; // why the stream ended; the last line
}

// TapNotice says what is missing in the stream.
export interface TapNotice {
  proxy: string; // as namespace/name
  kind: 'unreachable' | 'ended' | 'lost' | 'skipped' | 'revoked';
  count?: number;
  text?: string;
}

// TapEvent is what `tulle viz tap -o json` prints. Texts are as a client sent them.
export interface TapEvent {
  source: TapPeer;
  destination: TapPeer;
  routeMeta: Record<string, string> | null;
  proxyDirection: 'INBOUND' | 'OUTBOUND';
  requestInitEvent?: {
    id: TapID;
    method: string;
    scheme: string;
    authority: string;
    path: string;
    headers: TapHeader[] | null;
    headersOmitted?: number;
  };
  responseInitEvent?: {
    id: TapID;
    sinceRequestInit: TapDuration;
    httpStatus: number;
    headers: TapHeader[] | null;
    headersOmitted?: number;
  };
  responseEndEvent?: {
    id: TapID;
    sinceRequestInit: TapDuration;
    sinceResponseInit: TapDuration;
    requestBytes: number;
    responseBytes: number;
    trailers: TapHeader[] | null;
    grpcStatusCode: number;
    grpc: boolean; // whether there is a gRPC status
    error?: string;
    attempts?: number;
  };
  connectionOpenEvent?: { id: TapID };
  connectionCloseEvent?: { id: TapID; sinceOpen: TapDuration; readBytes: number; writeBytes: number; error?: string };
  proxy: string; // namespace/name of the pod whose proxy saw it
  timestamp: string;
  server?: string;
  authorization?: string;
}

export interface TapPeer {
  ip: string;
  port: number;
  metadata: Record<string, string>; // namespace, pod, deployment, service, tls, client_id, server_id, ...
}

// TapID names a request or connection: the number of its proxy in the watch, and its number there.
export interface TapID {
  base: number;
  stream: number;
}

export interface TapDuration {
  seconds?: number;
  nanos?: number;
}

export interface TapHeader {
  name: string;
  valueStr: string;
}

// --- workload and service ---

export interface TCP {
  open: number;
  readBytes: number; // per second
  writeBytes: number;
}

// Peer is the other end of requests: a node of the topology.
export interface Peer extends Golden, Ref {
  tcpOpen: number | null;
  security: TopologyEdge['security'];
  links: TopologyLink[];
  command: string; // "" if none shows the numbers
  securityCommand: string;
}

export interface Rates {
  success: number;
  rps: number;
}

export interface BackendRow extends Golden {
  namespace: string;
  service: string;
  port: string; // "" if not known
  timeouts: number | null;
  share: number | null; // of the route's attempts
  expected: number | null; // the share that the weights ask for
  invalid: string; // why it is no backend; "" if it is one
}

// RouteRow is the requests to one port of a Service under one route. Shares are from 0 to 1, and null if not known.
export interface RouteRow extends Golden {
  namespace: string;
  service: string;
  port: string;
  route: string; // "" under no route, and for all of a ServiceProfile together
  kind: string; // HTTPRoute, GRPCRoute, ServiceProfile, or "" without a route
  actual: Rates | null; // with retries
  retries: number | null; // of attempts
  timeouts: number | null; // of requests
  backends: BackendRow[];
  command: string;
}

export interface InboundRow extends Golden {
  server: string;
  port: string;
  route: string;
  kind: string;
}

export interface AuthorizationRow extends Golden {
  server: string;
  route: string;
  authorization: string; // kind/name; "" for denied requests
  denied: number;
}

export interface DenialRow {
  server: string;
  route: string;
  client: string; // an identity; "" if none was proved
  hidden: boolean; // whether the viewer may not know the client
  overflow: boolean; // whether these are clients beyond the bound of the proxy's metrics
  reason: string;
  connections: boolean; // whether connections were denied, not HTTP requests
  rps: number;
  command: string;
}

export interface PodRow extends Golden {
  name: string;
  status: string;
  serviceAccount: string;
  meshed: boolean;
  version: string;
  certificateEnd: string | null; // RFC 3339
}

export interface WorkloadPage extends Head, Golden, Ref {
  tcp: TCP | null;
  meshed: number;
  pods: number;
  versions: string[];
  peersKnown: boolean; // whether callers and callees are known
  callers: Peer[]; // busiest first
  callees: Peer[];
  routes: RouteRow[]; // of what it sent
  inbound: InboundRow[]; // what it served
  authorizations: AuthorizationRow[];
  denials: DenialRow[];
  podRows: PodRow[];
  commands: Record<'stat' | 'edges' | 'routes' | 'actual' | 'inbound' | 'authz' | 'pods' | 'tap', string>;
}

export interface ServiceCaller extends Golden, Ref {
  protocol: string; // HTTP or gRPC; "" for connections without requests
  tcpOpen: number | null;
  command: string;
}

export interface ServicePort {
  port: number;
  protocol: string;
  meshed: number; // endpoints that prove an identity
  endpoints: number;
  command: string;
}

export interface ServiceWorkload extends Golden, Ref {
  meshed: number; // pods that prove an identity
  pods: number; // pods that are endpoints
  versions: string[];
  command: string;
}

export interface ServicePage extends Head, Golden, Ref {
  tcp: TCP | null;
  callers: ServiceCaller[]; // busiest first
  routes: RouteRow[];
  ports: ServicePort[];
  workloads: ServiceWorkload[];
  configured: boolean; // whether the ports and endpoints are known
  commands: Record<'stat' | 'routes', string>;
}

// --- history ---

export interface HistoryPage extends Head, Ref {
  span: string; // as in 1h
  step: number; // seconds from one value to the next
  missing: string; // why there are no values; "" if there are
  remedy: string;
  times: number[]; // seconds since 1970
  success: (number | null)[];
  rps: (number | null)[]; // 0 without requests
  p50: (number | null)[];
  p95: (number | null)[];
  p99: (number | null)[];
  command: string; // PromQL
}
