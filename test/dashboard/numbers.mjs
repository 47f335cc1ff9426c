// Compares numbers that a page shows with what the command in their title prints.
import { run } from './programs.mjs';

// The keys of `-o json` by the headings of the pages.
const keys = {
  'Success': ['success', 'successRate', 'successesRate'],
  'Rate': ['rps'],
  'p50': ['latency_ms_p50', 'latencyMsP50'],
  'p95': ['latency_ms_p95', 'latencyMsP95'],
  'p99': ['latency_ms_p99', 'latencyMsP99'],
  'Meshed': ['meshed'],
  'Pods meshed': ['meshed'],
  'Connections': ['tcp_open_connections'],
  'Denied': ['unauthorized'],
  'Retries': ['retryRate'],
  'Timeouts': ['timeoutRate'],
  'Requests': ['requests'],
  'Lowest success': ['lowest'],
  'Denials': ['denials'],
};

// collect returns the numbers of the page by row and command: [{row, command, shown: {heading: text}}].
export function collect(page) {
  return page.evaluate(() => {
    const rows = new Map();
    const command = (of) => [of, ...of.querySelectorAll('[title]'), of.closest('dl[title]')].find((e) =>
      e?.title?.startsWith('tulle viz '))?.title;
    const add = (row, of, heading, text) => {
      const from = command(of);
      if (!from || !heading) return;
      const key = `${row}\n${from}`;
      if (!rows.has(key)) rows.set(key, { row, command: from, shown: {} });
      rows.get(key).shown[heading.trim()] = text.trim();
    };
    const text = (of) => (of.checkVisibility() ? of.textContent : '');
    for (const cell of document.querySelectorAll('main td[data-title]')) {
      add(cell.closest('tr').querySelector('th')?.textContent.trim() ?? '', cell, cell.dataset.title, text(cell));
    }
    for (const fact of document.querySelectorAll('main dl > div')) {
      add('', fact, fact.querySelector('dt')?.textContent ?? '', text(fact.querySelector('dd') ?? fact));
    }
    // In the graph the command is in the title, below what the part says.
    for (const part of document.querySelectorAll('main .canvas .node, main .canvas .edge-label')) {
      const from = part.querySelector('title')?.textContent.split('\n')[1];
      if (!from?.startsWith('tulle viz ')) continue;
      const texts = [...part.querySelectorAll('.node-summary, .edge-first, .edge-second')].map((e) => e.textContent);
      const shown = {};
      for (const number of texts.join(' · ').split(' · ')) {
        const heading = number.endsWith('%') ? 'Success' : number.endsWith(' rps') ? 'Rate' : / m?s$/.test(number) ? 'p99' : '';
        if (heading && !number.includes('…')) shown[heading] = number;
      }
      const id = part.getAttribute('data-id') ?? part.getAttribute('data-edge');
      if (Object.keys(shown).length > 0) rows.set(`${id} in the graph`, { row: `${id} in the graph`, command: from, shown });
    }
    return [...rows.values()];
  });
}

// printed returns the rows that a command prints as JSON.
async function printed(command) {
  const words = command.match(/'[^']*'|[^\s']+/g).map((w) => w.replaceAll("'", ''));
  const at = words.indexOf('-o');
  if (at >= 0) words.splice(at, 2);
  return flat(JSON.parse(await run('tulle', ...words.slice(1), '-o', 'json')));
}

// flat returns the rows: some commands print a table for each resource.
function flat(value) {
  if (Array.isArray(value)) return value.flatMap(flat);
  const tables = Object.values(value).filter(Array.isArray).flat().filter((v) => v !== null && typeof v === 'object');
  return tables.length > 0 ? flat(tables) : [value];
}

// sums returns what a page may show of many rows of a command: the denials of a namespace, and all about one policy.
function sums(name, rows) {
  const sum = (of, key) => of.reduce((all, r) => all + (r[key] ?? 0), 0);
  const [, object, kind] = name.match(/^(.*?)(Server|AuthorizationPolicy|ServerAuthorization|HTTPRoute|GRPCRoute)(?: in .*)?$/) ?? [];
  const own = rows.filter((r) => (kind === 'Server' ? r.server === object : kind?.endsWith('Route') ? r.route === object
    : r.authorization === `${kind?.toLowerCase()}/${object}`));
  const rates = own.map((r) => r.success).filter((s) => typeof s === 'number');
  return { unauthorized: sum(rows, 'unauthorized'), requests: sum(own, 'rps'), denials: sum(own, 'unauthorized'),
    lowest: rates.length > 0 ? Math.min(...rates) : null };
}

// near reports whether a number that is shown is that of the command, within what moves while both are asked for.
function near(heading, text, value) {
  if (keys[heading].includes('meshed')) return text === (value ?? 'no pods');
  if (text === '–' || text === '') return value === null || value === undefined;
  const shown = text.startsWith('<') ? 0 : Number.parseFloat(text.replaceAll(',', '')) * (/\d s$/.test(text) ? 1000 : 1);
  if (Number.isNaN(shown) || value === undefined) return false;
  switch (heading) {
    case 'Success': case 'Lowest success': case 'Retries': case 'Timeouts': return Math.abs(shown / 100 - (value ?? 0)) <= 0.02;
    case 'Rate': case 'Denied': case 'Requests': case 'Denials': return Math.abs(shown - (value ?? 0)) <= Math.max(0.3, 0.1 * shown);
    case 'Connections': return Math.abs(shown - value) <= 2;
  }
  return Math.abs(shown - value) <= Math.max(5, 0.5 * Math.max(shown, value)); // a latency
}

// differences returns the headings of the numbers that differ from a row of the command, or null if the command has none
// of them. A command may lack a column.
function differences(shown, row) {
  const known = Object.entries(shown).map(([heading, text]) => ({ heading, text, key: keys[heading]?.find((k) => k in row) }))
    .filter(({ key }) => key !== undefined);
  return known.length === 0 ? null : known.filter(({ heading, text, key }) => !near(heading, text, row[key])).map(({ heading }) => heading);
}

// compare returns the rows of the page that differ from their command. Numbers move while both are asked for, so it is
// called again; one that was equal to its place in the command's output once is in same, and stays equal.
export async function compare(page, same) {
  const keyOf = ({ row, command }, heading) => `${row}\n${command}\n${heading}`;
  const open = (r) => Object.keys(r.shown).some((heading) => keys[heading] && !same.has(keyOf(r, heading)));
  const rows = (await collect(page)).filter(open);
  const answers = new Map();
  const commands = [...new Set(rows.map((r) => r.command))];
  await Promise.all([0, 1, 2].map(async () => {
    for (let c = commands.pop(); c !== undefined; c = commands.pop()) answers.set(c, await printed(c));
  }));
  const differ = [];
  for (const one of rows) {
    const all = answers.get(one.command);
    const nearest = [...all, sums(one.row, all)].map((r) => differences(one.shown, r)).filter((d) => d !== null)
      .sort((a, b) => a.length - b.length)[0];
    for (const heading of Object.keys(one.shown)) if (nearest && !nearest.includes(heading)) same.add(keyOf(one, heading));
    if (!nearest || open(one)) differ.push(`${one.row}: ${nearest}: the page shows ${JSON.stringify(one.shown)}; ${one.command} prints ${JSON.stringify(all)}`);
  }
  return differ;
}
