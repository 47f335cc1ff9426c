// What is said of the lifetime of a certificate.
import { ago, seconds } from '../../format';
import type { Tone } from '../../ui/Badge';

const oneDay = 86_400;

export interface Lifetime {
  tone: Tone;
  word: string;
  left: string; // how long until it ends or begins
  spent: number; // how much of it has passed, in percent
}

// lifetimeOf returns that of a certificate; the times are in milliseconds.
export function lifetimeOf(from: number, to: number, now: number): Lifetime {
  const life = (to - from) / 1000;
  const left = (to - now) / 1000;
  const spent = to > from ? Math.max(0, Math.min(100, (100 * (now - from)) / (to - from))) : now < to ? 0 : 100;
  if (left <= 0) return { tone: 'error', word: 'Expired', left: `ended ${ago(-left)}`, spent };
  if (now < from) return { tone: 'error', word: 'Not valid yet', left: `begins in ${seconds((from - now) / 1000)}`, spent };
  const text = `${seconds(left)} left`;
  if (left < 7 * oneDay && left < life / 10) return { tone: 'error', word: 'Ends very soon', left: text, spent };
  if (left < 60 * oneDay && left < life / 4) return { tone: 'warning', word: 'Ends soon', left: text, spent };
  return { tone: 'ok', word: 'Valid', left: text, spent };
}
