// Takes pictures of paths with made-up data: node tools/shot.mjs PATH... writes shots/*.png, and says what the browser
// complained about. CHROMIUM names another browser than Debian's.
import { mkdirSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { createServer } from 'vite';

const paths = process.argv.slice(2);
if (paths.length === 0) paths.push('/');
const root = new URL('..', import.meta.url).pathname;
const server = await createServer({ root, server: { port: 0 }, logLevel: 'error' });
await server.listen();
const { port } = server.httpServer.address();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'] });
mkdirSync(`${root}/shots`, { recursive: true });
let complaints = 0;
for (const path of paths) {
  for (const colorScheme of ['light', 'dark']) {
    for (const [width, height] of [[1280, 800], [360, 740]]) {
      const context = await browser.newContext({ viewport: { width, height }, colorScheme, reducedMotion: 'reduce' });
      const page = await context.newPage();
      const complain = (text) => {
        complaints++;
        console.error(`${path} ${colorScheme} ${width}: ${text}`);
      };
      page.on('console', (m) => ['error', 'warning'].includes(m.type()) && complain(m.text()));
      page.on('pageerror', (e) => complain(e.stack ?? String(e)));
      await page.goto(`http://127.0.0.1:${port}${path}`);
      await page.waitForSelector('main h1, main .empty', { timeout: 60_000 });
      await page.waitForTimeout(1000);
      if (await page.evaluate('document.documentElement.scrollWidth > innerWidth')) complain('the page scrolls sideways');
      const name = path.replace(/^\/(?=\?|$)/, 'overview').replace(/[^a-z0-9]+/gi, '-').replace(/^-/, '');
      const file = `${root}shots/${name}-${width}-${colorScheme}.png`;
      await page.screenshot({ path: file, fullPage: true });
      console.log(file);
      await context.close();
    }
  }
}
await browser.close();
await server.close();
process.exit(complaints === 0 ? 0 : 1);
