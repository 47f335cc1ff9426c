// Drives every page of the dashboard while it shows a real cluster; README.md says what holds for each.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { barriers, harm, hostile, sizes, spoil, state, walk } from './inspect.mjs';
import { collect, compare } from './numbers.mjs';
import { pages } from './pages.mjs';
import { browse, dashboard, eventually, kubeconfig, logIn, run, shown } from './programs.mjs';

const cluster = { namespace: process.env.NAMESPACE ?? 'production', client: process.env.CLIENT ?? 'orders',
  server: process.env.SERVER ?? 'payments' };
const rows = pages(cluster);
let browser;
let own; // the dashboard of somebody with all rights
let session;

before(async () => {
  // The name of a context is text from elsewhere too.
  own = await dashboard(await kubeconfig(hostile[0]));
  browser = await browse();
  session = await logIn(browser, own.address);
});

after(async () => {
  await browser?.close();
  await own?.end();
});

// none asserts that nothing was found.
function none(found, where = '') {
  if (found.length > 0) assert.fail([where, ...found].join('\n'));
}

// quiet asserts that no page of a session complained.
function quiet(of) {
  none(of.complaints);
}

// settled returns the state of a page once it no longer changes.
async function settled(page) {
  return eventually(10_000, async () => {
    const now = await state(page);
    await sleep(500);
    assert.deepEqual(await state(page), now);
    return now;
  });
}

describe('pages', { concurrency: 2 }, () => {
  for (const row of rows) {
    describe(row.name, { concurrency: 1 }, () => {
      // Each page has a window of its own: pages that nobody can see do not go on.
      let session;
      let page;
      before(async () => {
        session = await logIn(browser, own.address);
        page = await session.open(row.path);
      });
      after(() => session?.context.close());

      test('shows what the commands print', async (t) => {
        assert.equal(await page.locator('h1').textContent(), row.title);
        assert.equal(await page.locator('main .empty .message').count(), 0, 'the page has no value');
        const same = new Set();
        await eventually(40_000, async () => none(await compare(page, same)));
        const count = new Set([...same].map((key) => key.slice(0, key.lastIndexOf('\n')))).size;
        t.diagnostic(`${same.size} numbers in ${count} rows`);
        assert.ok(count >= (row.numbers ?? 0), `${count} rows of numbers have a command, want ${row.numbers}`);
        quiet(session);
      });

      test('has no barriers', async () => {
        none(await barriers(page));
        quiet(session);
      });

      test('is usable with a keyboard', async (t) => {
        const { stops, faults } = await walk(page);
        t.diagnostic(`${stops} stops`);
        none(faults);
        assert.ok(stops > 5, `${stops} stops`);
        quiet(session);
      });

      test('has its state in its address', async () => {
        await row.change(page);
        await shown(page);
        const before = await settled(page);
        assert.notEqual(before.address, row.path);
        const again = await session.open(before.address);
        await eventually(10_000, async () => assert.deepEqual(await state(again), before));
        await again.close();
        quiet(session);
      });

      test('shows hostile names as text', async () => {
        const victim = await session.context.newPage();
        await victim.route('**/api/stream?*', async (route) => {
          const address = route.request().url().replace('/api/stream?', '/api/page?');
          const value = spoil(await (await session.context.request.get(address)).json(), row.names);
          await route.fulfill({ contentType: 'text/event-stream', body: `retry: 60000\nevent: page\ndata: ${JSON.stringify(value)}\n\n` });
        });
        for (const [width, height] of sizes) {
          await victim.setViewportSize({ width, height });
          await victim.goto(new URL(row.path, own.address).href);
          await shown(victim);
          none(await harm(victim), `at ${width} px`);
        }
        await victim.unrouteAll({ behavior: 'wait' });
        await victim.close();
        // The page may ask for more about a name that does not exist.
        none(session.complaints.splice(0).filter((c) => !c.includes('Failed to load resource')));
      });
    });
  }
});

test('the first stop of Tab leads to the content, and / to the search', async () => {
  const page = await session.open('/');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate('document.activeElement.className'), 'skip');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate('document.activeElement.id'), 'main');
  await page.keyboard.press('/');
  assert.ok(await page.evaluate(`document.activeElement.matches('[data-search]')`));
  await page.close();
});

// focus returns the part of the page that has the focus, as a selector sees it.
function focus(page, selector) {
  return page.evaluate((s) => document.activeElement?.closest(s)?.textContent ?? `none: ${document.activeElement?.outerHTML.slice(0, 200)}`,
    selector);
}

test('in forced colours the page that is open and what is chosen have a mark of their own', async () => {
  const page = await session.open('/policies');
  await page.emulateMedia({ forcedColors: 'active' });
  const looks = (selector, ...properties) => page.locator(selector).evaluateAll((all, of) =>
    all.map((e) => of.map((name) => getComputedStyle(e)[name]).join()), properties);
  const [open] = await looks('nav [aria-current]', 'borderBottomColor');
  assert.ok(!(await looks('nav a:not([aria-current])', 'borderBottomColor')).includes(open), 'every page looks open');
  const [chosen] = await looks('.choice input:checked + span', 'outlineStyle');
  assert.ok(!(await looks('.choice input:not(:checked) + span', 'outlineStyle')).includes(chosen), 'every window looks chosen');
  await page.close();
});

test('a link that is gone with its page leaves the focus to the new heading, also on the way back', async () => {
  const page = await session.open(`/?namespace=${cluster.namespace}`);
  await page.locator('tbody').getByRole('link', { name: cluster.server, exact: true }).press('Enter');
  await page.waitForURL('**/workload/**');
  await eventually(10_000, async () => assert.equal(await focus(page, 'h1'), cluster.server));
  assert.equal(await page.evaluate('scrollY'), 0);
  await page.goBack();
  await eventually(10_000, async () => assert.equal(await focus(page, 'h1'), cluster.namespace));
  await page.keyboard.press('Tab');
  assert.ok(await page.evaluate(`document.activeElement.matches('main *')`), 'the next Tab leaves the page');
  await page.close();
});

test('Tab comes to a table itself only where it has to be scrolled', async () => {
  const page = await session.open(`/?namespace=${cluster.namespace}`);
  const frame = page.locator('.table-frame').first();
  assert.equal(await frame.getAttribute('tabindex'), '-1');
  await page.setViewportSize({ width: 780, height: 800 });
  await frame.evaluate((e) => e.querySelector('th a').append('n'.repeat(200)));
  await eventually(5000, async () => assert.equal(await frame.getAttribute('tabindex'), '0'));
  await page.close();
});

test('a row that goes away leaves the focus to its table', async () => {
  const page = await session.open(`/?namespace=${cluster.namespace}`);
  await page.locator('tbody').getByRole('link', { name: cluster.server, exact: true }).focus();
  await page.evaluate(() => document.activeElement.closest('tr').remove());
  await eventually(2000, async () => assert.equal(await focus(page, '.table-frame[tabindex]:focus'), await page.locator('.table-frame')
    .first().textContent()));
  await page.close();
});

test('the details of the topology give the focus back to their node', async () => {
  const page = await session.open(`/topology?namespace=${cluster.namespace}`);
  const node = page.locator(`.topology [data-id="deployment/${cluster.namespace}/${cluster.server}"]`);
  await node.press('Enter');
  await page.waitForSelector('.panel');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate('document.activeElement.ariaLabel'), 'Close the details');
  await page.locator('.panel .calls button').first().press('Enter');
  await eventually(5000, async () => assert.doesNotMatch(await focus(page, '.panel'), /^none/));
  await page.keyboard.press('Escape');
  await page.waitForSelector('.panel', { state: 'detached' });
  assert.doesNotMatch(await focus(page, '.topology [data-id]'), /^none/);
  await page.close();
});

test('a row of a tap keeps the focus while others arrive, and its details come next', async () => {
  const page = await session.open(`/tap?namespace=${cluster.namespace}&resource=deploy/${cluster.client}&to=deploy/${cluster.server}`);
  const rows = page.locator('.tap-rows .tap-row');
  await rows.first().waitFor({ timeout: 60_000 });
  await page.locator('.tap-rows button[tabindex="0"]').focus();
  const row = () => page.evaluate(() => document.activeElement.closest('[data-row]')?.dataset.row ?? 'none');
  const before = await row();
  const newest = () => page.locator('.tap-rows [aria-rowindex="2"]').getAttribute('data-row', { timeout: 1000 }).catch(() => '');
  await eventually(30_000, async () => assert.notEqual(await newest(), before, 'no other request arrived'));
  await sleep(2000);
  assert.equal(await row(), before);
  assert.equal(await page.locator('.tap-rows button[tabindex="0"]').count(), 1, 'rows that Tab comes to');
  await page.keyboard.press('ArrowUp');
  assert.notEqual(await row(), before);
  await page.keyboard.press('ArrowDown');
  assert.equal(await row(), before);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.tap-detail');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate('document.activeElement.ariaLabel'), 'Close the detail');
  await page.keyboard.press('Escape');
  await page.waitForSelector('.tap-detail', { state: 'detached' });
  await eventually(2000, async () => assert.equal(await row(), before));
  await page.close();
});

test('hostile links are text too', async () => {
  for (const text of hostile) {
    for (const path of ['/', '/topology']) {
      const page = await session.open(`${path}?namespace=${encodeURIComponent(text)}&search=${encodeURIComponent(text)}`);
      const faults = (await harm(page)).filter((f) => !f.startsWith('no hostile name'));
      none(faults, `${path} with ${text}`);
      await page.close();
    }
  }
  // The server refuses what cannot be a name, which the browser reports.
  none(session.complaints.splice(0).filter((c) => !c.includes('Failed to load resource')));
});

test('a viewer without rights sees why, and no number', async () => {
  await run('kubectl', '-n', cluster.namespace, 'apply', '-f', new URL('viewer.yaml', import.meta.url).pathname);
  const token = (await run('kubectl', '-n', cluster.namespace, 'create', 'token', 'stranger')).trim();
  const theirs = await dashboard(await kubeconfig('stranger', token));
  try {
    const stranger = await logIn(browser, theirs.address);
    for (const row of rows) {
      const page = await stranger.open(row.path);
      await eventually(20_000, async () => // the page Tap asks the proxies first
        assert.match(await page.locator('main').innerText(), row.refuses ?? /You may not see this/, row.name));
      assert.deepEqual((await collect(page)).filter((r) => Object.values(r.shown).some((v) => /\d/.test(v))), [], row.name);
      await page.close();
    }
    none(stranger.complaints.filter((c) => !c.includes('Failed to load resource')));
    assert.ok(!theirs.said().includes(token), 'the token is in the output');
    await stranger.context.close();
  } finally {
    await theirs.end();
    await run('kubectl', '-n', cluster.namespace, 'delete', '-f', new URL('viewer.yaml', import.meta.url).pathname);
  }
});

test('Prometheus goes away and comes back', async () => {
  const viz = ['-n', 'tulle-viz'];
  // The shortest window: without a Prometheus an answer takes as long.
  const paths = [`/?namespace=${cluster.namespace}&window=15s`, `/topology?namespace=${cluster.namespace}&window=15s`];
  const sessions = await Promise.all(paths.map(() => logIn(browser, own.address)));
  const open = await Promise.all(paths.map((path, i) => sessions[i].open(path)));
  const all = (want) => eventually(90_000, async () => {
    for (const page of open) await want(page);
  });
  const notes = (page) => page.locator('.notes, .banner p').allInnerTexts();
  try {
    await run('kubectl', ...viz, 'scale', 'deployment/prometheus', '--replicas=0');
    await all(async (page) => {
      assert.match((await notes(page)).join(), /Prometheus/, page.url());
      assert.equal(await page.locator('h1').count(), 1, 'the page is gone');
    });
  } finally {
    await run('kubectl', ...viz, 'scale', 'deployment/prometheus', '--replicas=1');
    await run('kubectl', ...viz, 'rollout', 'status', 'deployment/prometheus', '--timeout=90s');
  }
  await all(async (page) => {
    assert.doesNotMatch((await notes(page)).join(), /Prometheus/, page.url());
    assert.match(await page.locator('.indicator').innerText(), /Live/, page.url());
  });
  for (const one of sessions) {
    quiet(one);
    await one.context.close();
  }
});

test('the dashboard ends: pages say so', async () => {
  const other = await dashboard(process.env.KUBECONFIG);
  const guest = await logIn(browser, other.address);
  const page = await guest.open('/');
  await other.end();
  await page.waitForSelector('.banner p, .indicator.stale', { timeout: 30_000 });
  await guest.context.close();
});
