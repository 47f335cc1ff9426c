// Tests in a browser, with made-up data, of what people with a keyboard or a link depend on: node --test
// tools/keyboard.test.mjs. CHROMIUM names another browser than Debian's.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { createServer } from 'vite';

let server, browser, page, origin;

before(async () => {
  server = await createServer({ root: new URL('..', import.meta.url).pathname, server: { port: 0 }, logLevel: 'error' });
  await server.listen();
  origin = `http://127.0.0.1:${server.httpServer.address().port}`;
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
  page = await browser.newPage({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' });
  page.setDefaultTimeout(20_000);
});

after(async () => {
  await browser?.close();
  await server?.close();
});

const open = async (path, wait) => {
  await page.goto(origin + path);
  await page.locator(wait).first().waitFor();
};
const focused = (selector) => page.waitForFunction((s) => document.activeElement?.matches(s) ?? false, selector);

test('the panel of the graph keeps the focus, and gives it back', async () => {
  await open('/topology?namespace=shop', '.node');
  await page.locator('.node[tabindex="0"]').focus();
  const id = await page.evaluate(() => document.activeElement.getAttribute('data-id'));
  await page.keyboard.press('Enter');
  await page.locator('.panel .calls button').first().focus();
  await page.keyboard.press('Enter');
  await focused('.panel, .panel *');
  await page.keyboard.press('Escape');
  await focused('.node, .canvas');
  await page.locator(`[data-id="${id}"]`).focus();
  await page.keyboard.press('Enter');
  await page.locator('.panel-close').focus();
  await page.keyboard.press('Enter');
  await focused('.node');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('data-id')), id);
});

test('a namespace of the graph that becomes one node keeps the focus in the graph', async () => {
  await open('/topology?namespace=shop', '.box-head');
  await page.locator('.box-head').first().focus();
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => location.search.includes('collapse='));
  await focused('.graph');
});

test('the order of a table is in its address', async () => {
  await open('/?namespace=shop', 'table');
  await page.getByRole('button', { name: 'Rate' }).click();
  await page.getByRole('button', { name: 'Rate' }).click();
  assert.match(page.url(), /sort=workloads\.-rps/);
  await focused('th button');
  await page.reload();
  await page.locator('th[aria-sort=descending]').waitFor();
  assert.equal(await page.locator('th[aria-sort=descending]').innerText(), 'Rate');
});

test('a link to a denial shows it, wherever it is in the list', async () => {
  await open('/policies?namespace=shop', '.denial');
  const more = page.locator('.denials > .more');
  if (await more.count() > 0) await more.click();
  const last = page.locator('.denial').last();
  await last.getByRole('button', { name: 'What would allow it' }).click();
  const id = await last.getAttribute('id');
  await open(new URL(page.url()).pathname + '?namespace=shop&open=' + encodeURIComponent(id), '.denial');
  await page.locator('.remedy').waitFor();
});

test('a page that cannot be drawn leaves the others alone', async () => {
  await page.route('**/api/stream?*page=overview*', (route) => route.fulfill({ contentType: 'text/event-stream',
    body: 'retry: 60000\nevent: page\ndata: {"at":"2026-01-01T00:00:00Z","window":"1m","notes":[],"namespaces":[{}],"workloads":null}\n\n' }));
  await open('/', 'h2:has-text("This page cannot be drawn")');
  await page.getByRole('link', { name: 'Topology' }).click();
  await page.locator('.node').first().waitFor();
  await page.unroute('**/api/stream?*page=overview*');
});

test('a link to an object that the page lacks says so', async () => {
  await open('/policies?namespace=shop&open=servers.policy.linkerd.io/far/none', '.elsewhere');
  assert.match(await page.locator('.elsewhere code').innerText(), /^kubectl get servers\.policy\.linkerd\.io none -n far/);
});

test('Health counts the proxies that its list leaves out, and its commands are ones of a shell', async () => {
  await open('/health?namespace=it%27s', '#proxies');
  const text = await page.locator('section[aria-labelledby=proxies]').innerText();
  const shown = /v1\.3\.2\s+differs\s+(\d+)/.exec(text);
  assert.match(text, new RegExp(`${shown[1]} proxies have another version`));
  assert.match(text, /rollout restart deploy -n 'it'\\''s'/);
  assert.match(text, /check --proxy -n 'it'\\''s'/);
});

test('a problem about denials leads to the page that explains them', async () => {
  await open('/', '.problems');
  await page.getByRole('link', { name: /^Policy denies/ }).first().click();
  await page.waitForFunction(() => location.pathname === '/policies' && location.search.includes('namespace=shop'));
});
