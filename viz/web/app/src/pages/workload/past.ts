// lastOf returns the last value that is known, or null.
export function lastOf(values: (number | null)[]): number | null {
  return values.filter((v) => v !== null).at(-1) ?? null;
}

// leastOf returns where the axis of success rates begins: at a round value below the lowest, so that small dips show.
export function leastOf(values: (number | null)[]): number {
  const lowest = Math.min(1, ...values.map((v) => v ?? 1));
  return [0.95, 0.9, 0.75, 0.5].find((v) => v < lowest) ?? 0;
}
