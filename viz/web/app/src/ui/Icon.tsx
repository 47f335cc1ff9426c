// The icons, drawn on a grid of 16 px with lines of 1.5 px.
const paths = {
  check: 'M3 8.5l3.2 3.2L13 4.8',
  warning: 'M8 2.2l6.3 11.3H1.7zM8 6.4v3.4M8 11.6v.2',
  error: 'M8 1.8a6.2 6.2 0 100 12.4A6.2 6.2 0 008 1.8zM8 4.8v4M8 11v.2',
  info: 'M8 1.8a6.2 6.2 0 100 12.4A6.2 6.2 0 008 1.8zM8 7.2v4M8 4.9v.2',
  lock: 'M3.5 7.2h9v6.3h-9zM5.4 7V5.1a2.6 2.6 0 015.2 0V7',
  unlocked: 'M3.5 7.2h9v6.3h-9zM5.4 7V4.6a2.6 2.6 0 015-1',
  search: 'M7 2.5a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM10.3 10.3l3.4 3.4',
  down: 'M4 6.2l4 4 4-4',
  up: 'M4 9.8l4-4 4 4',
  right: 'M6.2 4l4 4-4 4',
  close: 'M4 4l8 8M12 4l-8 8',
  menu: 'M2.5 4.5h11M2.5 8h11M2.5 11.5h11',
  copy: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3',
  pause: 'M5.5 3.5v9M10.5 3.5v9',
  play: 'M4.8 3l8 5-8 5z',
  clock: 'M8 1.8a6.2 6.2 0 100 12.4A6.2 6.2 0 008 1.8zM8 4.5V8l2.4 1.6',
  denied: 'M8 1.8a6.2 6.2 0 100 12.4A6.2 6.2 0 008 1.8zM3.7 3.7l8.6 8.6',
  external: 'M6.5 3.5h-3v9h9v-3M9 2.5h4.5V7M13.3 2.7L7.5 8.5',
  sent: 'M3.5 12.5l9-9M6 3.5h6.5V10',
  received: 'M12.5 3.5l-9 9M10 12.5H3.5V6',
  filter: 'M2 3.5h12L9.5 8.8v4.4l-3-1.5V8.8z',
  zoomIn: 'M8 3v10M3 8h10',
  zoomOut: 'M3 8h10',
} as const;

export type IconName = keyof typeof paths;

// Icon says nothing to a screen reader: a word beside it does.
export function Icon(props: { name: IconName; class?: string }) {
  return (
    <svg class={`icon ${props.class ?? ''}`} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={paths[props.name]} />
    </svg>
  );
}
