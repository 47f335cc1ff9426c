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

export interface NamespaceRow extends Golden {
  name: string;
  meshed: number;
  pods: number;
}

export interface OverviewPage extends Head {
  namespaces: NamespaceRow[];
  problems: Problem[];
}
