import type { ComponentChildren } from 'preact';
import type { Refusal } from '../api';
import { sentence } from '../format';
import { Text } from './Command';
import { Icon, type IconName } from './Icon';

// Empty says why there is nothing to see, and what to do next.
export function Empty(props: { icon?: IconName; title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={props.icon ?? 'info'} class="large" />
      <h2>{props.title}</h2>
      {props.children}
    </div>
  );
}

const titles: Record<Refusal['code'], string> = {
  forbidden: 'You may not see this',
  not_found: 'The object was not found',
  unavailable: 'There are no numbers at the moment',
  bad_request: 'This link is not valid',
};

// RefusalView takes the place of a page that has no value.
export function RefusalView(props: { refusal: Refusal }) {
  const { code, message, remedy } = props.refusal;
  return (
    <Empty icon={code === 'forbidden' ? 'lock' : 'warning'} title={titles[code] ?? titles.unavailable}>
      <p class="message">{sentence(message)}</p>
      {remedy && <p><Text>{remedy}</Text></p>}
    </Empty>
  );
}

// Loading is the shape of a page before its first numbers.
export function Loading() {
  return (
    <div class="loading" role="status">
      <p class="faint">Reading the numbers. Without a Prometheus, this takes as long as the time window.</p>
      {[0, 1, 2, 3, 4].map((i) => <div key={i} class="bar" />)}
    </div>
  );
}
