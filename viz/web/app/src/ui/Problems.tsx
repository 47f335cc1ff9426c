import type { Problem } from '../api';
import { linkTo, pathOf, usePageQuery } from '../link';
import { Command } from './Command';
import { Icon } from './Icon';

// keyOf is the same while the numbers in a problem's text change, so that its link keeps the focus.
function keyOf(p: Problem): string {
  return [p.ref?.kind, p.ref?.namespace, p.ref?.name, p.text.replace(/[\d.,]+/g, '')].join('/');
}

// addressOf returns the address of what says more of a problem, or null.
function addressOf(p: Problem, query: Record<string, string>): string | null {
  const kept = { window: query.window ?? '' };
  if (p.page !== '' && p.ref) return linkTo(`/${p.page}`, kept, { namespace: p.ref.namespace || p.ref.name });
  const path = p.ref && pathOf(p.ref);
  return path && linkTo(path, kept);
}

// Problems is what is wrong now, worst first: the first ones, and the others on demand.
export function Problems(props: { problems: Problem[]; most?: number }) {
  const [query, change] = usePageQuery();
  const all = query.problems === 'all';
  const most = props.most ?? 10;
  const shown = all ? props.problems : props.problems.slice(0, most);
  return (
    <>
      <ul class="problems">
        {shown.map((p) => {
          const to = addressOf(p, query);
          return (
            <li key={keyOf(p)} class={p.severity}>
              <Icon name={p.severity} />
              <div>
                <span class="unseen">{p.severity}: </span>
                <bdi>{to ? <a href={to}>{p.text}</a> : p.text}</bdi>
                {p.command && <Command>{p.command}</Command>}
              </div>
            </li>
          );
        })}
      </ul>
      {props.problems.length > most && (
        <button type="button" class="more" aria-expanded={all} onClick={() => change({ problems: all ? null : 'all' })}>
          <Icon name={all ? 'up' : 'down'} />{all ? 'Show fewer' : `Show all ${props.problems.length}`}
        </button>
      )}
    </>
  );
}
