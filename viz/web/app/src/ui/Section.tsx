import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';
import { count } from '../format';
import { Command } from './Command';

// Section is a part of a page with a heading, and the command that shows the same.
export function Section(props: { title: string; sub?: ComponentChildren; count?: number; command?: string; actions?: ComponentChildren;
  children: ComponentChildren }) {
  const id = useId();
  return (
    <section class="section" aria-labelledby={id}>
      <div class="section-head">
        <div>
          <h2 id={id}>{props.title}{props.count !== undefined && <> <span class="faint">{count(props.count)}</span></>}</h2>
          {props.sub && <p class="sub">{props.sub}</p>}
        </div>
        {props.actions}
        {props.command && <Command>{props.command}</Command>}
      </div>
      {props.children}
    </section>
  );
}

// Nothing takes the place of a table without rows.
export function Nothing(props: { children: ComponentChildren }) {
  return <p class="card nothing">{props.children}</p>;
}
