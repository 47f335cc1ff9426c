// Starts the programs that the tests use: tulle, kubectl and the browser.
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';

const execute = promisify(execFile);
const programs = { tulle: process.env.TULLE ?? 'tulle', kubectl: process.env.KUBECTL ?? 'kubectl' };

// run returns what a program prints.
export async function run(program, ...args) {
  const { stdout } = await execute(programs[program], args, { timeout: 120_000, maxBuffer: 64 << 20 });
  return stdout;
}

// eventually calls until it does not throw; after the timeout it throws what was thrown last.
export async function eventually(timeout, attempt) {
  for (const end = Date.now() + timeout; ; await sleep(500)) {
    try {
      return await attempt();
    } catch (e) {
      if (Date.now() > end) throw e;
    }
  }
}

// scratch is a folder that is removed at the end.
const scratch = mkdtempSync(join(tmpdir(), 'dashboard-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

// kubeconfig returns the path of a kubeconfig whose only context has this name. With a token it is for the token's owner.
export async function kubeconfig(context, token) {
  const config = JSON.parse(await run('kubectl', 'config', 'view', '--raw', '--flatten', '--minify', '-o', 'json'));
  config.contexts[0].name = config['current-context'] = context;
  if (token) config.users[0].user = { token };
  const file = join(scratch, `${config.contexts[0].name.replace(/\W/g, '-')}.kubeconfig`);
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}

// dashboard starts `tulle viz dashboard` and returns its first address, the one with the token, and what ends it.
export async function dashboard(config) {
  const child = spawn(programs.tulle, ['viz', 'dashboard', '--show', 'url', '--port', '0'],
    { env: { ...process.env, KUBECONFIG: config }, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.on('data', (text) => (said += text));
  const exited = new Promise((done) => {
    child.once('exit', done);
    child.once('error', (e) => done(e.message)); // it is not there
  });
  const ended = exited.then((code) => Promise.reject(new Error(`tulle viz dashboard ended with ${code}: ${said}`)));
  const printed = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.startsWith('http://')) return new URL(line);
    }
    return ended;
  })();
  ended.catch(() => {}); // it is ended below
  const address = await Promise.race([printed, ended]);
  return {
    address,
    said: () => said,
    end: async () => {
      child.kill('SIGINT');
      await exited;
    },
  };
}

// browse starts the browser.
export function browse() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu'] });
}

// logIn opens a browser's context with a session, and a list of what its pages complain about.
export async function logIn(browser, address, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', ...options });
  context.setDefaultTimeout(15_000);
  const complaints = [];
  context.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== address.origin && protocol !== 'data:' && protocol !== 'blob:') complaints.push(`request to ${request.url()}`);
  });
  context.on('console', (m) => {
    if (['error', 'warning'].includes(m.type())) complaints.push(`console, at ${m.page()?.url()}: ${m.text()}`);
  });
  context.on('weberror', (e) => complaints.push(`uncaught: ${e.error().stack ?? e.error()}`));
  await context.exposeFunction('reportViolation', (text) => complaints.push(`Content-Security-Policy: ${text}`));
  await context.addInitScript(() => document.addEventListener('securitypolicyviolation', (e) =>
    window.reportViolation(`${e.violatedDirective} refuses ${e.blockedURI || e.sample}`)));
  const page = await context.newPage();
  await page.goto(address.href);
  if (new URL(page.url()).search !== '') throw new Error(`the token stays in the address: ${page.url()}`);
  await page.close();
  return { context, complaints, open: (path) => open(context, address, path) };
}

// open opens a path, and waits until the page shows its numbers, or why it has none.
async function open(context, address, path) {
  const page = await context.newPage();
  await page.goto(new URL(path, address).href);
  await shown(page);
  return page;
}

// shown waits until the page shows its numbers, or why it has none.
export async function shown(page) {
  await page.waitForSelector('main .page, main .empty', { timeout: 30_000 });
  await page.waitForSelector('main .loading, main .drawing', { state: 'detached', timeout: 90_000 });
}

export const axeSource = () => readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
