import { useEffect, useRef, useState } from 'preact/hooks';
import { useLocation } from 'preact-iso/router';
import { listNamespaces, useConfig } from './config';
import { clock, sentence } from './format';
import { defaultWindow, linkTo, usePageQuery, windows } from './link';
import { built, pages } from './pages';
import { match, Router } from './router';
import { useStatus } from './stream';
import { Choice } from './ui/Choice';
import { Text } from './ui/Command';
import { useKeptFocus } from './ui/focus';
import { Icon } from './ui/Icon';
import { Name } from './ui/Name';
import { Picker } from './ui/Picker';

// Shell is what every page has around it.
export function Shell() {
  useKeys();
  useKeptFocus();
  useTop();
  return (
    <>
      <a class="skip" href="#main">Skip to the content</a>
      <Header />
      <Toolbar />
      <Banner />
      <main id="main" tabIndex={-1}><Router /></main>
    </>
  );
}

function Header() {
  const config = useConfig();
  const { path, query } = useLocation();
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(false), [path]);
  return (
    <header class="header">
      <a class="brand" href={linkTo('/', query)} aria-label="Tulle: overview">
        <img src="/favicon.svg" alt="" width="24" height="24" />
        <span>Tulle</span>
      </a>
      {config?.cluster && <span class="cluster" title={`Cluster ${config.cluster}, Tulle ${config.version}`}>
        <Name most={24}>{config.cluster}</Name></span>}
      <button type="button" class="icon-button menu" aria-expanded={open} aria-controls="nav"
        aria-label={open ? 'Close the navigation' : 'Open the navigation'} onClick={() => setOpen(!open)}>
        <Icon name={open ? 'close' : 'menu'} />
      </button>
      <nav id="nav" aria-label="Pages" class={open ? 'open' : undefined}>
        {pages.filter((p) => p.nav && built(p)).map((p) => (
          <a key={p.path} href={linkTo(p.path, query)} aria-current={path === p.path ? 'page' : undefined}>{p.title}</a>
        ))}
        {config?.grafanaURL && <a href={config.grafanaURL} target="_blank" rel="noreferrer">Grafana <Icon name="external" /></a>}
      </nav>
    </header>
  );
}

// Toolbar has what narrows every page: the namespace and the window; and how old the numbers are.
function Toolbar() {
  const { path } = useLocation();
  const [query, change] = usePageQuery();
  const found = match(path);
  if (!found || !built(found.page)) return null;
  const window = query.window ?? defaultWindow;
  return (
    <section class="toolbar" aria-label="What the page shows">
      {found.params.namespace === undefined && (
        <Picker label="Namespace" all="All namespaces" value={query.namespace ?? ''} load={() => listNamespaces(query.window)}
          onPick={(namespace) => change({ ...Object.fromEntries((found.page.local ?? []).map((p) => [p, null])), namespace })} />
      )}
      {!found.page.now && (
        <Choice label="Time window" options={windows.includes(window) ? windows : [...windows, window]} value={window}
          onPick={(w) => change({ window: w })} />
      )}
      <Indicator />
    </section>
  );
}

const words = { live: 'Live', stale: 'Not up to date', loading: 'Loading', none: '' };

// Indicator says whether the numbers are up to date.
function Indicator() {
  const { state, at, refusal } = useStatus();
  if (state === 'none') return null;
  if (state === 'loading' && refusal) return <p class="indicator stale"><Icon name="warning" />No numbers</p>;
  return (
    <p class={`indicator ${state}`} title={at && `The numbers are from ${new Date(at).toLocaleString('en-GB')}.`}>
      {state === 'stale' ? <Icon name="warning" /> : <span class="dot" />}
      {words[state]}
      {at && <time dateTime={at}>{clock(at)}</time>}
    </p>
  );
}

// Banner says why the numbers that the page still shows are old. Screen readers hear it once.
function Banner() {
  const { state, refusal, at } = useStatus();
  const shown = state === 'stale' && at !== undefined;
  return (
    <div class="banner" role="status">
      {shown && (
        <p>
          <Icon name="warning" />
          <span>
            {refusal ? <>{sentence(refusal.message)} <Text>{refusal.remedy}</Text></> : 'The server has not answered for a while.'}
            {' '}The numbers are from {clock(at)}.
          </span>
        </p>
      )}
    </div>
  );
}

// useTop shows a page that a link opened from its top; on the way back the browser shows what was seen before.
function useTop() {
  const { path } = useLocation();
  const back = useRef(true);
  useEffect(() => {
    const went = () => void (back.current = true);
    addEventListener('popstate', went);
    return () => removeEventListener('popstate', went);
  }, []);
  useEffect(() => {
    if (!back.current) scrollTo(0, 0);
    back.current = false;
  }, [path]);
}

// useKeys makes `/` go to the search of the page; without one, to the namespaces.
function useKeys() {
  useEffect(() => {
    const key = (e: KeyboardEvent) => {
      const target = e.target as HTMLElement;
      if (e.key !== '/' || e.ctrlKey || e.metaKey || e.altKey || target.closest('input, textarea, select')) return;
      const search = document.querySelector<HTMLElement>('[data-search]') ??
        document.querySelector<HTMLElement>('[data-picker]');
      if (!search) return;
      e.preventDefault();
      search.focus();
      if (search.matches('[data-picker][aria-expanded=false]')) search.click();
    };
    document.addEventListener('keydown', key);
    return () => document.removeEventListener('keydown', key);
  }, []);
}
