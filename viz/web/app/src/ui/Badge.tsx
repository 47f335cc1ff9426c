import type { ComponentChildren } from 'preact';
import { Icon, type IconName } from './Icon';

export type Tone = 'ok' | 'warning' | 'error' | 'neutral' | 'accent';

const icons: Record<Tone, IconName | null> = { ok: 'check', warning: 'warning', error: 'error', neutral: null, accent: null };

// Badge is a short word about a state. The icon and the word say it; the colour only helps.
export function Badge(props: { tone: Tone; icon?: IconName | null; title?: string; children: ComponentChildren }) {
  const icon = props.icon === undefined ? icons[props.tone] : props.icon;
  return (
    <span class={`badge ${props.tone}`} title={props.title}>
      {icon && <Icon name={icon} />}
      {props.children}
    </span>
  );
}
