import { useEffect, useErrorBoundary, useState } from 'preact/hooks';
import type { ComponentType } from 'preact';
import { exec, useLocation } from 'preact-iso/router';
import { built, pages, type Page, type PageProps } from './pages';
import { Empty, Loading } from './ui/Empty';

export interface Match {
  page: Page;
  params: Record<string, string>;
}

// match returns the page of a path, or null. A path with a broken escape has none.
export function match(path: string): Match | null {
  for (const page of pages) {
    try {
      const found = exec(path, page.path);
      if (found) return { page, params: found.params };
    } catch {
      return null;
    }
  }
  return null;
}

const loaded = new Map<Page, ComponentType<PageProps>>();

// Router shows the page of the address.
export function Router() {
  const { path, query } = useLocation();
  const found = match(path);
  if (!found || !built(found.page)) return <Missing />;
  if (!found.page.load) return <Empty title="Not built yet"><p>{found.page.title} comes later.</p></Empty>;
  return <Guarded key={found.page.path} page={found.page} params={found.params} query={query} />;
}

// Guarded says so when a page cannot be drawn, such as numbers of another version of the server. The rest of the app works
// on.
function Guarded(props: PageProps & { page: Page }) {
  const [error, reset] = useErrorBoundary((e) => console.error(e));
  if (!error) return <Lazy {...props} />;
  return (
    <Empty icon="warning" title="This page cannot be drawn">
      <p>The dashboard may have been started again in another version.</p>
      <p>
        <button type="button" class="button" onClick={() => location.reload()}>Reload</button>{' '}
        <button type="button" class="button" onClick={reset}>Try again</button>
      </p>
    </Empty>
  );
}

// Lazy loads the page's file when it is opened for the first time.
function Lazy(props: PageProps & { page: Page }) {
  const { page } = props;
  const [, done] = useState(false);
  const [failed, fail] = useState(false);
  useEffect(() => {
    if (loaded.has(page)) return;
    page.load!().then((m) => {
      loaded.set(page, m.default);
      done(true);
    }, () => fail(true));
  }, []);
  const Component = loaded.get(page);
  if (Component) return <Component params={props.params} query={props.query} />;
  if (!failed) return <Loading />;
  return (
    <Empty icon="warning" title="This page did not load">
      <p>The dashboard has ended, or it was started again in another version.</p>
      <p><button type="button" class="button" onClick={() => location.reload()}>Reload</button></p>
    </Empty>
  );
}

function Missing() {
  return (
    <Empty icon="search" title="This page does not exist">
      <p>The link may be from another version of the dashboard. <a href="/">Go to the overview.</a></p>
    </Empty>
  );
}
