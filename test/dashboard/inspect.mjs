// Looks at a page as its users do: with a screen reader, with a keyboard, on a small screen.
import { axeSource } from './programs.mjs';

export const sizes = [[1280, 800], [360, 740]];
export const schemes = ['light', 'dark'];

// barriers returns what keeps people from using the page, in each size and each colour scheme.
export async function barriers(page) {
  const found = [];
  await page.evaluate(axeSource());
  for (const [width, height] of sizes) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of schemes) {
      await page.emulateMedia({ colorScheme });
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
      for (const v of violations) {
        for (const node of v.nodes) found.push(`${width} px, ${colorScheme}: ${v.id}: ${v.help}: ${node.html.slice(0, 200)}: ${
          node.any[0]?.message ?? node.failureSummary}`);
      }
    }
  }
  for (const width of [360, 640]) { // 640 px is 1280 px at a zoom of 200 %
    await page.setViewportSize({ width, height: 740 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    if (wide > width) found.push(`${width} px: the page is ${wide} px wide`);
  }
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.emulateMedia({ colorScheme: 'light' });
  return [...new Set(found)];
}

// walk presses Tab from the top of the page to its end, and returns how many stops there are and what is wrong with them.
export async function walk(page) {
  await page.evaluate(() => {
    document.activeElement?.blur?.();
    window.getSelection()?.removeAllRanges();
    const visible = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
    const usable = (e) => e.tabIndex >= 0 && !e.disabled && visible(e) && (e.type !== 'radio' || e.checked);
    const look = (e) => {
      const around = [e, e.parentElement, e.parentElement?.parentElement, e.nextElementSibling, ...e.children].filter(Boolean);
      return around.map((of) => {
        const s = getComputedStyle(of);
        return [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow, s.borderColor, s.backgroundColor, s.stroke,
          s.strokeWidth, s.textDecorationLine].join();
      }).join('\n');
    };
    const nameOf = (e) => `${e.tagName.toLowerCase()} ${(e.getAttribute('aria-label') ?? e.textContent ?? '').trim().slice(0, 60)}`;
    window.walker = {
      seen: new Set(), unmarked: new Set(), before: null,
      wanted: () => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')].filter(usable),
      step() {
        const e = document.activeElement;
        if (this.before && this.before.element !== e && this.before.element.isConnected &&
          look(this.before.element) === this.before.look) this.unmarked.add(nameOf(this.before.element));
        this.before = e && e !== document.body ? { element: e, look: look(e) } : null;
        if (!this.before || this.seen.has(e)) return false;
        this.seen.add(e);
        return true;
      },
      missed() {
        return this.wanted().filter((e) => !this.seen.has(e) && e.tagName !== 'MAIN').map(nameOf);
      },
    };
  });
  const most = 60 + (await page.evaluate(() => window.walker.wanted().length));
  let stops = 0;
  for (; stops < most; stops++) {
    await page.keyboard.press('Tab');
    if (!(await page.evaluate(() => window.walker.step()))) break;
  }
  const faults = await page.evaluate(() => [
    ...window.walker.missed().map((name) => `Tab does not reach: ${name}`),
    ...[...window.walker.unmarked].map((name) => `nothing marks the focus: ${name}`),
  ]);
  if (stops === most) faults.push(`Tab does not come to an end after ${most} stops`);
  return { stops, faults };
}

// state returns what a page's controls say, and its address. The name of a node ends with its numbers, which change.
export function state(page) {
  return page.evaluate(() => ({
    address: location.pathname + location.search,
    title: document.querySelector('h1')?.textContent ?? '',
    controls: [...document.querySelectorAll('.toolbar input, .toolbar button, main input, main select, main [aria-pressed=true], ' +
      'main [aria-selected=true], nav [aria-current]')].filter((e) => e.type !== 'radio' || e.checked).map((e) =>
      `${e.tagName.toLowerCase()} ${(e.getAttribute('aria-label') ?? e.textContent).replace(/: .*\d.*$/, '')}: ${e.value ?? ''}`),
  }));
}

// Names that somebody could give to an object, a path or a header.
export const hostile = [
  '<img src=x onerror="window.hacked=1">',
  '\u202Egnp.exe\u2066\u200F\u05E9\u05DC\u05D5\u05DD',
  'n'.repeat(253),
];

const usual = ['name', 'namespace', 'text', 'message', 'path', 'authority', 'clientID', 'serverID', 'reason', 'detail', 'value',
  'version', 'client', 'server', 'host', 'notes', 'title', 'label', 'remedy', 'command', 'method', 'pod', 'service', 'route', 'values', 'rule', 'try', 'logs',
  'authorization', 'parent', 'controller', 'error', 'part', 'component', 'serial', 'missing'];

// spoil replaces names in a page's JSON by hostile ones: the same by the same.
export function spoil(value, more = [], key = '', names = new Map()) {
  if (Array.isArray(value)) return value.map((v) => spoil(v, more, key, names));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, spoil(v, more, k, names)]));
  }
  if (typeof value !== 'string' || value === '' || ![...usual, ...more].includes(key)) return value;
  if (!names.has(value)) names.set(value, `${hostile[names.size % hostile.length]}${names.size}`);
  return names.get(value);
}

// harm returns what hostile names did to a page.
export function harm(page) {
  return page.evaluate(() => {
    const faults = [];
    if (window.hacked) faults.push('a name ran as a script');
    if (document.querySelector('main img, header img:not([src="/favicon.svg"]), .toolbar img')) faults.push('a name is an element');
    if (document.documentElement.scrollWidth > innerWidth) faults.push(`the page is ${document.documentElement.scrollWidth} px wide`);
    const isolated = ['isolate', 'isolate-override', 'plaintext'];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let texts = 0;
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.data.includes('<img')) texts++;
      if (!node.data.includes('\u202E') || node.parentElement.closest('svg')) continue;
      texts++;
      let e = node.parentElement;
      while (e && !isolated.includes(getComputedStyle(e).unicodeBidi) && getComputedStyle(e).display.startsWith('inline')) e = e.parentElement;
      if (e && e.textContent.trim() !== node.data.trim()) faults.push(`a name turns the text around it: ${e.outerHTML.slice(0, 200)}`);
    }
    if (texts === 0) faults.push('no hostile name is shown');
    return faults;
  });
}
