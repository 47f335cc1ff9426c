// The pages of the app. A page is a file in pages/ with a default export, and a line here.
import type { ComponentType } from 'preact';

// PageProps are the props of each page: the parameters of its path and of its query.
export interface PageProps {
  params: Record<string, string>;
  query: Record<string, string>;
}

export interface Page {
  path: string;
  title: string;
  nav?: boolean; // whether the navigation links to it
  now?: boolean; // whether it is about the present, so it has no time window
  local?: string[]; // parameters that name objects of the namespace, cleared when another namespace is chosen
  load?: () => Promise<{ default: ComponentType<PageProps> }>; // missing if the page is not built yet
}

export const pages: Page[] = [
  { path: '/', title: 'Overview', nav: true, load: () => import('./pages/Overview') },
  { path: '/topology', title: 'Topology', nav: true, load: () => import('./pages/Topology') },
  { path: '/tap', title: 'Tap', nav: true, now: true, local: ['resource', 'to', 'to-namespace'],
    load: () => import('./pages/Tap') },
  { path: '/policies', title: 'Policies', nav: true, local: ['open'], load: () => import('./pages/Policies') },
  { path: '/health', title: 'Health', nav: true, now: true, load: () => import('./pages/Health') },
  { path: '/workload/:namespace/:kind/:name', title: 'Workload', load: () => import('./pages/Workload') },
  { path: '/service/:namespace/:name', title: 'Service', load: () => import('./pages/Service') },
];

// built reports whether people can open the page. In development all can be opened.
export function built(page: Page): boolean {
  return page.load !== undefined || import.meta.env.DEV;
}
