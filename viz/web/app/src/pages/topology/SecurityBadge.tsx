import type { TopologyEdge } from '../../api';
import { Badge } from '../../ui/Badge';
import { Icon } from '../../ui/Icon';
import { reasonOf, securityWords } from './graph';

// SecurityBadge says whether an edge is mesh TLS: with an icon and a word, or, short, with an icon that has a title.
export function SecurityBadge(props: { edge: Pick<TopologyEdge, 'security' | 'links' | 'securityCommand'>; short?: boolean }) {
  const { edge } = props;
  const word = securityWords[edge.security];
  const why = edge.links.filter((l) => l.reason !== '').map((l) => reasonOf(l, edge.security)).join(' ');
  const icon = edge.security === 'mtls' ? 'lock' : edge.security === 'external' ? 'external' : 'unlocked';
  const tone = edge.security === 'mtls' ? 'ok' : edge.security === 'external' ? 'neutral' : 'warning';
  if (props.short) {
    return <span class={`sign ${tone}`} title={word}><Icon name={icon} /><span class="unseen">{word}</span></span>;
  }
  return <Badge tone={tone} icon={icon} title={why || edge.securityCommand}>{word}</Badge>;
}
