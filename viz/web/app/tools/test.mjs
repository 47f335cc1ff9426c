// Builds src/**/*.test.ts and runs the result with node's own test runner.
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'vite';

const root = new URL('..', import.meta.url).pathname;
const out = join(root, 'node_modules/.test');
const tests = readdirSync(join(root, 'src'), { recursive: true }).filter((f) => /\.test\.tsx?$/.test(f)).sort();
rmSync(out, { recursive: true, force: true });
await build({
  root,
  configFile: false,
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  logLevel: 'warn',
  build: { ssr: true, outDir: out, rolldownOptions: {
    input: Object.fromEntries(tests.map((f) => [f.replace(/[/.]/g, '_'), join(root, 'src', f)])),
    output: { entryFileNames: '[name].mjs', chunkFileNames: '[name].mjs' },
  } },
});
const files = readdirSync(out).filter((f) => f.endsWith('_test_ts.mjs') || f.endsWith('_test_tsx.mjs'));
process.exit(spawnSync(process.execPath, ['--test', ...files.map((f) => join(out, f))], { stdio: 'inherit' }).status ?? 1);
