import path from 'node:path'
import { build } from 'vite'
import { ROOT } from './sources.ts'

// Builds the console's pages: console/ → console/dist, which the node serves. With --watch again at each change.
const root = path.join(ROOT, 'console')
await build({
  root,
  configFile: false,
  envDir: false,
  logLevel: process.argv.includes('--watch') ? 'info' : 'warn',
  build: {
    outDir: path.join(root, 'dist'),
    emptyOutDir: true,
    // What the pages' policy forbids is not made: no script or picture within another file, nothing put in by script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    target: ['chrome123', 'edge123', 'firefox125', 'safari17.5'],
    reportCompressedSize: false,
    watch: process.argv.includes('--watch') ? {} : null,
  },
})
