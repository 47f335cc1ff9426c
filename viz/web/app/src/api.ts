// What the server answers: the JSON of viz/board and viz/web, one block a page.

// Golden are golden metrics. Without requests all but rps are null, and rps is 0.
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

// Problem is something that is wrong now.
export interface Problem {
  severity: Severity;
  text: string;
  ref: Ref | null;
  command: string; // what shows more; "" if nothing does
}

// Head is what every page has.
export interface Head {
  at: string; // RFC 3339
  window: string; // as in 1m
  notes: string[];
}

// Refusal is why a page has no value.
export interface Refusal {
  code: 'forbidden' | 'not_found' | 'unavailable' | 'bad_request';
  message: string;
  remedy: string;
}

// Config is what /api/config answers.
export interface Config {
  version: string;
  cluster: string; // the name of the kubeconfig's context
  namespace: string; // the one that pages begin with; "" is all
  viewer: string; // "" if not known
  grafanaURL: string; // "" if there is none
  traceURL: string;
}

// --- overview ---

// State is how an object is, worst first: as bad as its worst problem, or ok; quiet without traffic, and unmeshed
// without a proxy.
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

// The kinds of nodes that are no objects.
export type NodeKind = 'unmeshed' | 'external' | 'identity' | 'hidden' | 'pods';

export interface TopologyNode extends Golden, Ref {
  id: string;
  counted: boolean; // whether the golden metrics are known
  tcpOpen: number | null;
  meshed: number;
  pods: number; // 0 for what is no object
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

// PolicyState is how an object is: as bad as its worst condition, or ok; pending if the control plane has not evaluated
// its latest generation, and none if nobody reports on it.
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

// PolicyTraffic is requests or connections that met an object; rps is in the unit.
export interface PolicyTraffic extends Golden {
  result: 'allowed' | 'denied' | 'routed';
  unit: 'request' | 'connection';
  server: string;
  route: string;
  authorization: string; // kind/name
  service: Ref | null; // what the clients of a route asked for
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
  traffic: PolicyTraffic[] | null; // null if not known
  command: string;
}

// PolicyDenial is a denied client, why, and what would allow it.
export interface PolicyDenial {
  workload: Ref;
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
