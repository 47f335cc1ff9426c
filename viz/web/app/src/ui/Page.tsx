import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Head } from '../api';
import type { Live } from '../stream';
import { Text } from './Command';
import { Loading, RefusalView } from './Empty';
import { useArrival } from './focus';
import { Icon } from './Icon';

// PageFrame is the frame of every page: the heading, the content or why there is none, and the notes.
export function PageFrame<P extends Head>(props: {
  title: string;
  sub?: ComponentChildren;
  actions?: ComponentChildren;
  live: Live<P>;
  children: (page: P) => ComponentChildren;
}) {
  const { live } = props;
  const heading = useRef<HTMLHeadingElement>(null);
  useArrival(props.title, () => heading.current);
  useEffect(() => {
    document.title = `${props.title} · Tulle`;
  }, [props.title]);
  return (
    <div class="page">
      <div class="page-head">
        <div>
          <h1 ref={heading} tabIndex={-1}><bdi>{props.title}</bdi></h1>
          {props.sub && <p class="sub">{props.sub}</p>}
        </div>
        {props.actions && <div class="actions">{props.actions}</div>}
      </div>
      {live.page ? props.children(live.page) : live.refusal ? <RefusalView refusal={live.refusal} /> : <Loading />}
      {live.page && live.page.notes.length > 0 && (
        <aside class="notes" aria-label="Notes">
          {live.page.notes.map((note) => <p key={note}><Icon name="info" /><span><Text>{note}</Text></span></p>)}
        </aside>
      )}
    </div>
  );
}
