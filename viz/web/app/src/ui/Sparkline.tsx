// pathsOf returns the line of the values and the area below it, in a box of this size. Gaps stay gaps.
export function pathsOf(values: (number | null)[], most: number, width: number, height: number,
  least = 0): { line: string; area: string } {
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  const part = (v: number) => (most > least ? Math.max(0, Math.min((v - least) / (most - least), 1)) : 0);
  const y = (v: number) => (height - 1 - part(v) * (height - 2)).toFixed(1);
  let line = '', area = '';
  let begin: string | null = null, last = '';
  const end = () => {
    if (begin !== null) area += `L${last} ${height}L${begin} ${height}Z`;
    begin = null;
  };
  values.forEach((v, i) => {
    if (v === null) return end();
    const x = (i * step).toFixed(1);
    const point = `${begin === null ? 'M' : 'L'}${x} ${y(v)}`;
    line += point;
    area += point;
    begin ??= x;
    last = x;
  });
  end();
  return { line, area };
}

const width = 96;
const height = 24;

// Sparkline is a line of values without axes, oldest first; null where there is none. label says in words what it is
// and how it ends, because a picture does not. most is the value at the upper edge: the greatest one unless given.
// least is that at the lower edge.
export function Sparkline(props: { values: (number | null)[]; label: string; most?: number; least?: number;
  tone?: 'accent' | 'warning' | 'error' }) {
  const most = props.most ?? Math.max(0, ...props.values.map((v) => v ?? 0));
  const { line, area } = pathsOf(props.values, most, width, height, props.least);
  return (
    <svg class={`sparkline ${props.tone ?? 'accent'}`} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={props.label}
      preserveAspectRatio="none">
      <title>{props.label}</title>
      <path class="area" d={area} />
      <path class="line" d={line} vector-effect="non-scaling-stroke" />
    </svg>
  );
}
