import type { Golden } from '../api';
import { latency, none, percent, rate } from '../format';
import { Icon } from './Icon';
import type { Column } from './Table';

// The success rates below which a number is marked. viz/board's Overview has the same.
export const warnBelow = 0.99;
export const errorBelow = 0.95;

// toneOf returns how good a success rate is.
export function toneOf(success: number | null): 'ok' | 'warning' | 'error' | 'neutral' {
  if (success === null) return 'neutral';
  return success < errorBelow ? 'error' : success < warnBelow ? 'warning' : 'ok';
}

// Success is a success rate, with a mark if it is low.
export function Success(props: { value: number | null; title?: string }) {
  const tone = toneOf(props.value);
  return (
    <span class={`number success ${tone}`} title={props.title}>
      {(tone === 'error' || tone === 'warning') && <Icon name={tone} />}
      {percent(props.value)}
    </span>
  );
}

// Rps is a rate of requests, with its unit.
export function Rps(props: { value: number; title?: string }) {
  return <span class={props.value === 0 ? 'number faint' : 'number'} title={props.title}>{rate(props.value)} <small>rps</small></span>;
}

// Connections is a rate of new connections, with its unit.
export function Connections(props: { value: number; title?: string }) {
  return <span class="number" title={props.title}>{rate(props.value)} <small>conn/s</small></span>;
}

// Latency is a latency, with its unit.
export function Latency(props: { value: number | null; title?: string }) {
  const text = latency(props.value);
  if (text === none) return <span class="number faint" title={props.title}>{none}</span>;
  const [number, unit] = text.split(' ');
  return <span class="number" title={props.title}>{number} <small>{unit}</small></span>;
}

// goldenColumns returns the five columns of golden metrics. source says which command a row's numbers come from.
export function goldenColumns<R>(of: (row: R) => Golden, source: (row: R) => string): Column<R>[] {
  return [
    { key: 'success', title: 'Success', numeric: true, sort: (r) => of(r).success ?? 2,
      cell: (r) => <Success value={of(r).success} title={source(r)} /> },
    { key: 'rps', title: 'Rate', numeric: true, sort: (r) => -of(r).rps,
      cell: (r) => <Rps value={of(r).rps} title={source(r)} /> },
    { key: 'p50', title: 'p50', numeric: true, sort: (r) => -(of(r).p50 ?? -1),
      cell: (r) => <Latency value={of(r).p50} title={source(r)} /> },
    { key: 'p95', title: 'p95', numeric: true, sort: (r) => -(of(r).p95 ?? -1),
      cell: (r) => <Latency value={of(r).p95} title={source(r)} /> },
    { key: 'p99', title: 'p99', numeric: true, sort: (r) => -(of(r).p99 ?? -1),
      cell: (r) => <Latency value={of(r).p99} title={source(r)} /> },
  ];
}
