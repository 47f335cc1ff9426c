// A request as a command of curl.
import { quote } from '../../quote';
import type { Row } from './log';

export const redacted = '[redacted]';

// Headers that curl makes itself, or that belong to one connection.
const own = new Set([
  'host',
  'content-length',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'proxy-connection',
  'expect',
  'accept-encoding',
]);

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

// Curl is a command that sends a request again, and what it lacks of it.
export interface Curl {
  command: string;
  missing: string[];
}

// curlOf returns the command for a request; null for a connection.
export function curlOf(row: Row): Curl | null {
  const r = row.request;
  if (!r) return null;
  const words = ['curl'];
  const missing: string[] = [];
  const method = r.method.toUpperCase();
  if (method === 'HEAD') words.push('--head');
  else if (method !== 'GET') words.push('-X', r.method);
  const grpc = row.requestHeaders.lines.some(
    (h) => h.name.toLowerCase() === 'content-type' && h.valueStr.startsWith('application/grpc'),
  );
  if (grpc) words.push('--http2-prior-knowledge');
  const scheme = r.scheme.toLowerCase() === 'https' ? 'https' : 'http'; // others are not curl's, or read files
  const origin = `${scheme}://${r.authority || `${row.destination.ip}:${row.destination.port}`}`;
  const url = r.path.startsWith('/') ? origin + r.path : origin;
  if (!r.path.startsWith('/') && r.path !== '') words.push('--request-target', r.path);
  if (/[[\]{}]/.test(url)) words.push('--globoff');
  words.push(url);
  let hidden = 0;
  for (const { name, valueStr } of row.requestHeaders.lines) {
    const lower = name.toLowerCase();
    if (own.has(lower) || lower.startsWith('l5d-') || !token.test(name)) continue;
    if (valueStr.includes(redacted)) hidden++;
    else words.push('-H', valueStr === '' ? `${name};` : `${name}: ${valueStr}`);
  }
  if (hidden > 0) missing.push(hidden === 1 ? 'one redacted header' : `${hidden} redacted headers`);
  if (r.path.includes(redacted)) missing.push('redacted query values');
  if (row.requestHeaders.omitted > 0) missing.push(`${row.requestHeaders.omitted} headers that the proxy left out`);
  if ((row.end?.sent ?? 0) > 0) missing.push('the body');
  return { command: words.map(quote).join(' '), missing };
}
