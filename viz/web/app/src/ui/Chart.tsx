import { useEffect, useRef, useState } from 'preact/hooks';
import type { Plot } from './plot';

export type LineTone = 'accent' | 'ok' | 'warning' | 'error' | 'soft';

// Line is one line of a Chart: values at the chart's times, null where there is none.
export interface Line {
  label: string;
  tone: LineTone;
  values: (number | null)[];
  dashed?: boolean; // two lines differ by more than their colour
}

export interface ChartProps {
  title: string;
  source: string; // the command or the PromQL that the values come from
  times: number[]; // seconds since 1970, ascending
  lines: Line[];
  write: (value: number) => string; // a value with its unit
  height?: number;
  least?: number; // the value at the lower edge, if not 0
  most?: number; // the value at the upper edge, if not the greatest one
}

// Chart shows lines over time, and their last values as text below. The library that draws is loaded with the first
// chart.
export function Chart(props: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const [failed, fail] = useState(false);
  const now = useRef(props);
  now.current = props;
  const shape = props.lines.map((l) => `${l.label}\n${l.tone}\n${l.dashed}`).join('\n\n');
  useEffect(() => {
    let gone = false;
    const draw = () => import('./plot').then(({ newPlot }) => {
      if (gone || !place.current) return;
      plot.current?.end();
      plot.current = newPlot(place.current, now.current);
    }, () => gone || fail(true));
    void draw();
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', draw);
    return () => {
      gone = true;
      scheme.removeEventListener('change', draw);
      plot.current?.end();
      plot.current = null;
    };
  }, [shape, props.height]);
  useEffect(() => plot.current?.update(props), [props.times, props.lines]);
  return (
    <figure class="chart" title={props.source}>
      <figcaption>{props.title}</figcaption>
      <div class="plot" ref={place} aria-hidden="true" />
      {failed && <p class="faint">The chart did not load. Reload the page.</p>}
      <ul class="legend">
        {props.lines.map((l) => (
          <li key={l.label} class={l.tone}>
            <svg viewBox="0 0 16 4" aria-hidden="true"><path d="M0 2h16" class={l.dashed ? 'dashed' : undefined} /></svg>
            {l.label} <strong>{writeLast(l, props.write)}</strong>
          </li>
        ))}
      </ul>
    </figure>
  );
}

function writeLast(line: Line, write: (value: number) => string): string {
  const last = line.values.at(-1);
  return last === null || last === undefined ? '–' : write(last);
}
