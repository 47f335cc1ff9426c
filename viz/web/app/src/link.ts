// The address has the whole state of a page, so that a link shows everybody the same.
import { useLocation } from 'preact-iso/router';
import type { Ref } from './api';

export const windows = ['1m', '5m', '10m', '1h', '6h'];
export const defaultWindow = '1m';

// withParams returns the address with the parameters changed: null, "" and the default window are left out.
export function withParams(address: string, changes: Record<string, string | null>): string {
  const at = address.indexOf('?');
  const [path, search] = at < 0 ? [address, ''] : [address.slice(0, at), address.slice(at + 1)];
  const params = new URLSearchParams(search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === '' || (name === 'window' && value === defaultWindow)) params.delete(name);
    else params.set(name, value);
  }
  const text = params.toString();
  return text === '' ? path : `${path}?${text}`;
}

// linkTo returns the address of a page with the window and the namespace of the query, and then the changes.
export function linkTo(path: string, query: Record<string, string>, changes: Record<string, string | null> = {}): string {
  const kept: Record<string, string> = {};
  for (const name of ['namespace', 'window']) if (query[name]) kept[name] = query[name];
  return withParams(withParams(path, kept), changes);
}

// pathOf returns the path of the page that is about the object, or null if there is none.
export function pathOf(ref: Ref): string | null {
  const part = encodeURIComponent;
  switch (ref.kind) {
    case 'namespace':
      return `/?namespace=${part(ref.name)}`;
    case 'service':
      return `/service/${part(ref.namespace)}/${part(ref.name)}`;
    case 'deployment':
    case 'statefulset':
    case 'daemonset':
    case 'job':
    case 'cronjob':
    case 'replicaset':
    case 'replicationcontroller':
    case 'pod':
      return `/workload/${part(ref.namespace)}/${part(ref.kind)}/${part(ref.name)}`;
  }
  return null;
}

const prefixes: Record<string, string> = { deployment: 'deploy', statefulset: 'sts', daemonset: 'ds', cronjob: 'cj', job: 'job',
  replicaset: 'rs', replicationcontroller: 'rc' };

// resourceOf writes a workload as an argument of commands, as in deploy/web.
export function resourceOf(ref: Ref): string {
  return `${prefixes[ref.kind] ?? ref.kind}/${ref.name}`;
}

// usePageQuery returns the parameters of the address, and a function that changes them in place.
export function usePageQuery(): [Record<string, string>, (changes: Record<string, string | null>) => void] {
  const { url, query, route } = useLocation();
  return [query, (changes) => route(withParams(url, changes), true)];
}
