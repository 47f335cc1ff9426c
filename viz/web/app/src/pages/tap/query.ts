// What a link asks for: the body of the question to the server, and the command that shows the same.
import type { Ref, TapQuery } from '../../api';
import { quote } from '../../quote';

export type Params = Record<string, string | undefined>;

export const defaultRate = 100;
export const maxRate = 1000;

// refOf reads a resource as the commands take it: deploy/web, or deploy for all.
function refOf(text: string, namespace: string): Ref {
  const slash = text.indexOf('/');
  return slash < 0
    ? { kind: text, namespace, name: '' }
    : { kind: text.slice(0, slash), namespace, name: text.slice(slash + 1) };
}

export function isNamespace(kind: string): boolean {
  return ['ns', 'namespace', 'namespaces'].includes(kind);
}

// targetOf returns what a link watches, or null if it names nothing yet.
export function targetOf(params: Params): Ref | null {
  if (!params.resource) return null;
  const ref = refOf(params.resource, params.namespace ?? '');
  if (isNamespace(ref.kind) && ref.name === '' && ref.namespace === '') return null;
  return ref;
}

// namespaceOf returns the namespace that a link watches.
export function namespaceOf(target: Ref): string {
  return isNamespace(target.kind) && target.name ? target.name : target.namespace;
}

// rateOf returns the rate that a link asks for; 0 means the default.
function rateOf(params: Params): number {
  const rate = Number(params['max-rps'] ?? '');
  return Number.isInteger(rate) && rate > 0 && rate !== defaultRate ? Math.min(rate, maxRate) : 0;
}

function destinationOf(params: Params, target: Ref): Ref {
  const namespace = params['to-namespace'] || namespaceOf(target);
  if (params.to) return refOf(params.to, namespace);
  return params['to-namespace']
    ? { kind: 'namespace', namespace: '', name: namespace }
    : { kind: '', namespace: '', name: '' };
}

// bodyOf returns the body of POST /api/tap.
export function bodyOf(params: Params, target: Ref): TapQuery {
  return {
    target,
    to: destinationOf(params, target),
    selector: params.selector ?? '',
    maxRps: rateOf(params),
    direction: params.direction ?? '',
    scheme: params.scheme ?? '',
    method: params.method ?? '',
    authority: params.authority ?? '',
    path: params.path ?? '',
  };
}

// commandOf returns the command that shows the same requests.
export function commandOf(params: Params, target: Ref): string {
  const words = ['tulle', 'viz', 'tap', params.resource ?? ''];
  const flag = (name: string, value: string | undefined) => value && words.push(name, value);
  if (!isNamespace(target.kind) || target.name === '') flag('-n', target.namespace);
  flag('--to', params.to);
  flag('--to-namespace', params['to-namespace']);
  for (const name of ['direction', 'method', 'scheme', 'authority', 'path', 'selector'])
    flag(`--${name}`, params[name]);
  flag('--max-rps', rateOf(params) ? String(rateOf(params)) : undefined);
  return words.map(quote).join(' ');
}
