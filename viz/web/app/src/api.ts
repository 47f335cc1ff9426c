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
