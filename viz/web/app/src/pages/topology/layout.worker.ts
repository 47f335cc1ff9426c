// The layout runs here, because it takes longer than a frame.
import type { Task } from './grid';
import { arrange } from './layout';

self.onmessage = (event: MessageEvent<{ number: number; task: Task }>) => {
  const { number, task } = event.data;
  self.postMessage({ number, layout: arrange(task) });
};
