// How ends of certificates are written.

// left writes a time span in its largest unit, as in 23 h.
export function left(ms: number): string {
  const units: [number, string][] = [[86_400_000, 'd'], [3_600_000, 'h'], [60_000, 'min'], [1000, 's']];
  for (const [size, unit] of units) if (ms >= size) return `${Math.floor(ms / size)} ${unit}`;
  return '0 s';
}

export interface End {
  text: string;
  tone: 'ok' | 'warning' | 'error';
  title: string;
}

// A proxy renews its certificate long before it ends. One that ends within an hour was not renewed.
const soon = 3_600_000;

// endOf says when a certificate ends, seen from a time.
export function endOf(end: string, now: string): End {
  const ms = Date.parse(end) - Date.parse(now);
  const title = `The certificate of the proxy ends at ${new Date(end).toLocaleString('en-GB')}.`;
  if (ms <= 0) return { text: `ended ${left(-ms)} ago`, tone: 'error', title };
  return { text: `in ${left(ms)}`, tone: ms < soon ? 'warning' : 'ok', title };
}

// earliest returns the first of the ends, or null.
export function earliest(ends: (string | null)[]): string | null {
  return ends.reduce((a, b) => (a === null || (b !== null && Date.parse(b) < Date.parse(a)) ? b : a), null);
}
