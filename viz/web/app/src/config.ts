// The configuration of the app, read once, and the names for the pickers.
import { useEffect, useState } from 'preact/hooks';
import type { Config, OverviewPage, TapPage } from './api';
import { resourceOf } from './link';
import { searchOf } from './stream';

let config: Promise<Config | null> | undefined;

async function get<T>(address: string): Promise<T | null> {
  try {
    const answer = await fetch(address);
    return answer.ok ? ((await answer.json()) as T) : null;
  } catch {
    return null;
  }
}

// useConfig returns the configuration; null until it is known.
export function useConfig(): Config | null {
  const [now, set] = useState<Config | null>(null);
  useEffect(() => {
    config ??= get<Config>('/api/config');
    void config.then((c) => {
      if (c === null) config = undefined;
      set(c);
    });
  }, []);
  return now;
}

// listNamespaces returns the namespaces that the viewer may see, from the overview; null if they cannot be read.
export async function listNamespaces(window: string | undefined): Promise<string[] | null> {
  const page = await get<OverviewPage>(`/api/page?${searchOf('overview', { window })}`);
  return page && page.namespaces.map((n) => n.name).sort();
}

// listTargets returns the workloads of a namespace that tap can watch, as in deploy/web; null if they cannot be read.
export async function listTargets(namespace: string): Promise<string[] | null> {
  const page = await get<TapPage>(`/api/page?${searchOf('tap', { namespace })}`);
  return page && page.targets.filter((t) => t.kind !== 'namespace' && t.watchable > 0).map(resourceOf).sort();
}
