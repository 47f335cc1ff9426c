// The order of tables in an address, as in sort=pods.name,callers.-rps: each table by its ID, with - for the reverse.

export interface Order {
  key: string;
  reversed: boolean;
}

const parts = (text: string | undefined) => (text ?? '').split(',').filter((p) => p.includes('.'));
const idOf = (part: string) => part.slice(0, part.indexOf('.'));

// orderOf returns the order of a table; null if the address has none.
export function orderOf(text: string | undefined, id: string): Order | null {
  const part = parts(text).find((p) => idOf(p) === id);
  if (part === undefined) return null;
  const key = part.slice(id.length + 1);
  return key.startsWith('-') ? { key: key.slice(1), reversed: true } : { key, reversed: false };
}

// withOrder returns the text with another order of one table.
export function withOrder(text: string | undefined, id: string, order: Order | null): string {
  const others = parts(text).filter((p) => idOf(p) !== id);
  return [...others, ...(order ? [`${id}.${order.reversed ? '-' : ''}${order.key}`] : [])].join(',');
}

// compareValues compares what rows are sorted by. What is no number comes after all numbers.
export function compareValues(x: number | string, y: number | string): number {
  if (typeof x === 'string' || typeof y === 'string') return String(x).localeCompare(String(y));
  const [a, b] = [Number.isNaN(x) ? Infinity : x, Number.isNaN(y) ? Infinity : y];
  return a === b ? 0 : a < b ? -1 : 1;
}

// pressed returns the order after a press on a heading: a third press restores the first order.
export function pressed(order: Order | null, key: string): Order | null {
  if (order?.key !== key) return { key, reversed: false };
  return order.reversed ? null : { key, reversed: true };
}
