import type { Problem } from '../api';
import { linkTo, pathOf, usePageQuery } from '../link';
import { Command } from './Command';
import { Icon } from './Icon';

// Problems is what is wrong now, worst first.
export function Problems(props: { problems: Problem[] }) {
  const [query] = usePageQuery();
  return (
    <ul class="problems">
      {props.problems.map((p) => {
        const path = p.ref && pathOf(p.ref);
        return (
          <li key={p.text} class={p.severity}>
            <Icon name={p.severity} />
            <div>
              <span class="unseen">{p.severity}: </span>
              {path ? <a href={linkTo(path, { window: query.window ?? '' })}>{p.text}</a> : p.text}
              {p.command && <Command>{p.command}</Command>}
            </div>
          </li>
        );
      })}
    </ul>
  );
}
