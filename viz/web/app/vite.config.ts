import { defineConfig } from 'vite';
import { fixtures } from './fixtures/serve.ts';

// The names of the built files have no hashes: a change shows in git as a change of one file.
export default defineConfig(({ command }) => ({
  plugins: command === 'serve' ? [fixtures()] : [],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  server: { host: '127.0.0.1', port: 5173 },
  worker: { format: 'es', rolldownOptions: { output: { entryFileNames: 'assets/[name].js', chunkFileNames: 'assets/[name].js' } } },
  build: {
    outDir: '../dist',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0, // the Content-Security-Policy allows no data: but for images
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        entryFileNames: 'assets/[name].js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]',
        codeSplitting: {
          groups: [{ name: 'ui', test: /\/src\/(?!main|shell|pages\/|ui\/(?:Chart|plot))|node_modules\/preact/ }],
        },
      },
    },
  },
}));
