import { middle } from '../format';

// Name is a name from the cluster: shortened in its middle, with the whole name in its title. Its direction does not
// change that of the text around it.
export function Name(props: { children: string; most?: number }) {
  const short = middle(props.children, props.most);
  return <bdi class="name" title={short === props.children ? undefined : props.children}>{short}</bdi>;
}
