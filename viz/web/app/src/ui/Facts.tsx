import type { ComponentChildren } from 'preact';

// Facts is a row of figures with their names.
export function Facts(props: { children: ComponentChildren }) {
  return <dl class="figures">{props.children}</dl>;
}

// Fact is one of them. title says where it comes from.
export function Fact(props: { name: string; title?: string; below?: ComponentChildren; children: ComponentChildren }) {
  return <div title={props.title}><dt>{props.name}</dt><dd>{props.children}</dd>{props.below && <dd>{props.below}</dd>}</div>;
}
