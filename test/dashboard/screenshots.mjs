// Takes the pictures of docs/dashboard from the demo's cluster: each page at 1280 and 360 px, light and dark.
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { schemes, sizes } from './inspect.mjs';
import { pages } from './pages.mjs';
import { browse, dashboard, kubeconfig, logIn, shown } from './programs.mjs';

const folder = new URL('../../docs/dashboard/', import.meta.url).pathname;
mkdirSync(folder, { recursive: true });
if (!process.env.ONLY) for (const file of readdirSync(folder)) if (file.endsWith('.png')) rmSync(folder + file);
const own = await dashboard(await kubeconfig('demo'));
const browser = await browse();
let total = 0;
for (const row of pages({ namespace: 'shop', client: 'web', server: 'checkout' }).filter((r) => r.picture)) {
  for (const [width, height] of sizes) {
    for (const colorScheme of schemes) {
      const session = await logIn(browser, own.address, { viewport: { width, height }, colorScheme });
      const page = await session.open(row.path);
      await row.prepare?.(page);
      await shown(page);
      await sleep(1000); // the graph moves to its place
      const file = `${folder}${row.picture}-${width}-${colorScheme}.png`;
      await page.screenshot({ path: file });
      const { size } = statSync(file);
      total += size;
      console.log(`${(size / 1024).toFixed(0).padStart(5)} kB  ${file}`);
      if (session.complaints.length > 0) throw new Error(`${row.name}: ${session.complaints.join('\n')}`);
      await session.context.close();
    }
  }
}
await browser.close();
await own.end();
console.log(`${(total / 1024).toFixed(0).padStart(5)} kB  in all`);
