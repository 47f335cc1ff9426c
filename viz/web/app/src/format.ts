// Writes numbers, with the words and the units of the commands.

export const none = '–';

// percent writes a share as in 99.87%. Only a share of exactly 1 is 100.00%.
export function percent(share: number | null): string {
  if (share === null) return none;
  return `${(share < 1 ? Math.min(share * 100, 99.99) : 100).toFixed(2)}%`;
}

// rate writes requests per second, without their unit.
export function rate(rps: number): string {
  if (rps === 0) return '0';
  if (rps < 0.05) return '<0.1';
  return rps < 1000 ? rps.toFixed(1) : Math.round(rps).toLocaleString('en-US');
}

// latency writes milliseconds with their unit.
export function latency(ms: number | null): string {
  if (ms === null) return none;
  return ms < 10_000 ? `${Math.round(ms).toLocaleString('en-US')} ms` : `${(ms / 1000).toFixed(1)} s`;
}

// count writes a whole number.
export function count(n: number): string {
  return n.toLocaleString('en-US');
}

// plural writes a number with its noun.
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

// clock writes the time of day.
export function clock(time: string | number | Date): string {
  return new Date(time).toLocaleTimeString('en-GB');
}

// middle shortens a long name in its middle, because names of pods and identities differ at their ends.
export function middle(name: string, most = 40): string {
  const letters = [...name];
  if (letters.length <= most) return name;
  const head = Math.ceil((most - 1) / 2);
  return `${letters.slice(0, head).join('')}…${letters.slice(letters.length - (most - 1 - head)).join('')}`;
}

// sourceOf returns the command that a number comes from.
export function sourceOf(what: string, namespace: string, window: string): string {
  return `tulle viz stat ${what}${namespace === '' ? '' : ` -n ${namespace}`} -t ${window}`;
}

// sentence ends a message of the server as a sentence.
export function sentence(message: string): string {
  return /[.!?]$/.test(message) ? message : `${message}.`;
}

// seconds writes a time span in its largest unit, as in 3 d or 2 min.
export function seconds(s: number): string {
  const units: [number, string][] = [[86_400 * 365, 'y'], [86_400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  for (const [size, unit] of units) if (s >= size * (unit === 'y' ? 2 : 1)) return `${Math.floor(s / size)} ${unit}`;
  return '0 s';
}

// ago writes how long ago something was.
export function ago(s: number): string {
  return s < 1 ? 'just now' : `${seconds(s)} ago`;
}

// day writes a date as in 30 Nov 2026.
export function day(time: string | number | Date): string {
  return new Date(time).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
}

// last writes a time window as it is said after "the last", as in minute or 10 minutes.
export function last(window: string): string {
  const [, n, unit] = /^(\d+)([smhd])$/.exec(window) ?? [];
  const word = { s: 'second', m: 'minute', h: 'hour', d: 'day' }[unit ?? ''];
  return word === undefined ? window : n === '1' ? word : `${n} ${word}s`;
}
