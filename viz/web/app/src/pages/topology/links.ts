import type { Ref } from '../../api';
import { linkTo } from '../../link';
import { isWorkload } from './graph';

const prefixes: Record<string, string> = { deployment: 'deploy', statefulset: 'sts', daemonset: 'ds', cronjob: 'cj', job: 'job',
  replicaset: 'rs', replicationcontroller: 'rc' };

// resourceOf writes a workload as the commands take it.
export function resourceOf(ref: Ref): string {
  return `${prefixes[ref.kind] ?? ref.kind}/${ref.name}`;
}

// tapLink returns the page Tap with the filter set: the requests of a workload, or those to another one.
export function tapLink(query: Record<string, string>, of: Ref, to?: Ref): string {
  const narrowed = to && isWorkload(to);
  return linkTo('/tap', query, { namespace: of.namespace, resource: resourceOf(of), to: narrowed ? resourceOf(to) : null,
    'to-namespace': narrowed && to.namespace !== of.namespace ? to.namespace : null, window: null });
}
