// Measures how fast the built app draws, with the API of the made-up data: the first paint of a browser that has nothing
// of it yet, and the frames while a graph of 100 workloads and 400 edges is refreshed. node tools/frames.mjs [REFRESHES]
// ends with 1 if the median of the first paints is over 1 s, or a frame over 50 ms. CHROMIUM names another browser than
// Debian's.
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer as createHTTP } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { chromium } from 'playwright-core';
import { createServer } from 'vite';

const refreshes = Number(process.argv[2] ?? 10);
const limit = 50; // milliseconds a frame
const paintLimit = 1000; // milliseconds
const root = new URL('..', import.meta.url).pathname;
const dist = join(root, '../dist');
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

// The built app, with the API of the made-up data.
const vite = await createServer({ root, server: { middlewareMode: true, hmr: false, ws: false }, appType: 'custom', logLevel: 'error' });
const server = createHTTP((request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname.startsWith('/api/')) return vite.middlewares(request, response);
  let file = join(dist, normalize(pathname));
  if (!existsSync(file) || statSync(file).isDirectory()) file = join(dist, 'index.html');
  response.writeHead(200, { 'Content-Type': types[extname(file)] ?? 'application/octet-stream' });
  createReadStream(file).pipe(response);
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'] });
const origin = `http://127.0.0.1:${server.address().port}`;

// paint opens a path in a browser without a cache and returns when the first text was there, and when the numbers were.
async function paint(path) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto(origin + path);
  await page.waitForSelector('main table, main .node');
  const times = await page.evaluate(() => [performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]);
  await context.close();
  return times;
}
const median = (of) => [...of].sort((a, b) => a - b)[Math.floor(of.length / 2)];
const paths = ['/', '/topology?namespace=shop'];
for (const path of paths) await paint(path); // the server compiles the made-up data
let paints = 0;
for (const path of paths) {
  const times = [];
  for (let i = 0; i < 5; i++) times.push(await paint(path));
  const first = median(times.map((t) => t[0]));
  paints = Math.max(paints, first);
  console.log(`${path}: first paint after ${first.toFixed(0)} ms, numbers after ${median(times.map((t) => t[1])).toFixed(0)} ms (median of 5)`);
}

const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
await page.goto(`${origin}/topology?namespace=big`);
await page.waitForSelector('.topology .node', { timeout: 120_000 });
const size = await page.evaluate(() => [document.querySelectorAll('.topology .node').length,
  document.querySelectorAll('.topology path.line').length - document.querySelectorAll('.legend path.line').length]);
await page.waitForTimeout(3000); // what the load of the page takes is another budget

const cdp = await page.context().newCDPSession(page);
await cdp.send('Performance.enable');
const busy = async () => (await cdp.send('Performance.getMetrics')).metrics.find((m) => m.name === 'TaskDuration').value;
const before = await busy();
const seen = await page.evaluate(({ refreshes, limit }) => new Promise((done) => {
  const out = { refreshes: 0, frames: 0, over: 0, longest: 0, tasks: 0 };
  const clock = document.querySelector('.indicator time');
  const tasks = new PerformanceObserver((list) => (out.tasks += list.getEntries().length));
  tasks.observe({ type: 'longtask' }); // those over 50 ms
  const update = new MutationObserver(() => out.refreshes++);
  update.observe(clock, { characterData: true, childList: true, subtree: true });
  let last = performance.now();
  const frame = (now) => {
    const took = now - last;
    last = now;
    out.frames++;
    out.longest = Math.max(out.longest, took);
    if (took > limit) out.over++;
    if (out.refreshes < refreshes) return requestAnimationFrame(frame);
    setTimeout(() => done({ ...out, tasks: out.tasks + tasks.takeRecords().length }), 500);
  };
  requestAnimationFrame(frame);
}), { refreshes, limit });
const used = (await busy()) - before;
await browser.close();
server.close();
await vite.close();

console.log(`${size[0]} workloads and other nodes, ${size[1]} edges, ${seen.refreshes} refreshes`);
console.log(`frames over ${limit} ms: ${seen.over} of ${seen.frames}; the longest took ${seen.longest.toFixed(1)} ms`);
console.log(`tasks over ${limit} ms: ${seen.tasks}; the page was busy for ${(1000 * used / seen.refreshes).toFixed(0)} ms a refresh`);
process.exit(size[0] >= 100 && size[1] >= 400 && seen.over === 0 && paints <= paintLimit ? 0 : 1);
