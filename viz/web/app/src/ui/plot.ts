// Draws charts with uPlot. It is a separate file because few pages have charts.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { ChartProps } from './Chart';

export interface Plot {
  update(props: ChartProps): void;
  end(): void;
}

const variables = { accent: '--accent', ok: '--ok', warning: '--warning', error: '--error', soft: '--line-strong' };

const dataOf = (props: ChartProps): uPlot.AlignedData => [props.times, ...props.lines.map((l) => l.values)];

// newPlot draws into the place, and follows its width.
export function newPlot(place: HTMLElement, props: ChartProps): Plot {
  const style = getComputedStyle(document.documentElement);
  const colour = (variable: string) => style.getPropertyValue(variable).trim();
  const height = props.height ?? 180;
  let now = props;
  const write = (v: number) => now.write(v);
  const axis: uPlot.Axis = { stroke: colour('--faint'), font: `11px ${getComputedStyle(document.body).fontFamily}`,
    grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
  const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
  const plot = new uPlot({
    width: Math.max(place.clientWidth, 100),
    height,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (_, __, most) => [now.least ?? 0, now.most ?? (most > 0 ? most * 1.1 : 1)] } },
    axes: [
      { ...axis, space: 64, size: 28, values: (_, times) => times.map((t) => clock.format(t * 1000)) },
      { ...axis, size: 64, space: 36, values: (_, values) => values.map((v) => write(v)) },
    ],
    series: [{}, ...props.lines.map((l): uPlot.Series => ({ label: l.label, stroke: colour(variables[l.tone]), width: 1.5,
      dash: l.dashed ? [4, 3] : undefined, points: { show: false } }))],
    plugins: [tip(write, (t) => clock.format(t * 1000))],
  }, dataOf(props), place);
  const resize = new ResizeObserver(() => plot.setSize({ width: Math.max(place.clientWidth, 100), height }));
  resize.observe(place);
  return {
    update(next) {
      now = next;
      plot.setData(dataOf(next));
    },
    end() {
      resize.disconnect();
      plot.destroy();
    },
  };
}

// tip shows the values under the pointer.
function tip(write: (v: number) => string, clock: (t: number) => string): uPlot.Plugin {
  const box = document.createElement('div');
  box.className = 'tip';
  box.hidden = true;
  return {
    hooks: {
      ready: (u) => void u.over.append(box),
      setCursor: (u) => {
        const { idx, left = 0 } = u.cursor;
        box.hidden = idx === null || idx === undefined || left < 0;
        if (box.hidden) return;
        const lines = u.series.slice(1).map((s, i) => {
          const v = u.data[i + 1]![idx!];
          return `${s.label as string}: ${v === null || v === undefined ? '–' : write(v)}`;
        });
        box.textContent = [clock(u.data[0][idx!]!), ...lines].join('\n');
        box.classList.toggle('left', left > u.over.clientWidth / 2);
        box.style.setProperty('--x', `${left}px`);
      },
    },
  };
}
