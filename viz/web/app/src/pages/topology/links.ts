import type { Ref } from '../../api';
import { linkTo, resourceOf } from '../../link';
import { isWorkload } from './graph';

// tapLink returns the page Tap with the filter set: the requests of a workload, or those to another one.
export function tapLink(query: Record<string, string>, of: Ref, to?: Ref): string {
  const narrowed = to && isWorkload(to);
  return linkTo('/tap', query, { namespace: of.namespace, resource: resourceOf(of), to: narrowed ? resourceOf(to) : null,
    'to-namespace': narrowed && to.namespace !== of.namespace ? to.namespace : null, window: null });
}
