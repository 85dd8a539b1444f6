import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Check, Source } from './sources.ts'
import { docPaths, doors, layers, tables, words, world } from './tidy.ts'

const file = (path: string, text: string): Source => ({ path, text })
const rows: [string, Check, Source[], Source[]][] = [
  [
    'layers: an import up',
    layers,
    [file('src/core/a.ts', "import { b } from '../gateway/b.ts'"), file('src/gateway/b.ts', '')],
    [file('src/gateway/a.ts', "import { b } from '../core/b.ts'"), file('src/core/b.ts', '')],
  ],
  [
    'layers: to the side',
    layers,
    [file('src/auth/a.ts', "import type { b } from '../sandbox/index.ts'")],
    [file('src/invoke/a.ts', "import type { b } from '../sandbox/index.ts'")],
  ],
  [
    'layers: a cycle',
    layers,
    [file('src/core/a.ts', "import './b.ts'"), file('src/core/b.ts', "import './a.ts'")],
    [file('src/core/a.ts', "import './b.ts'"), file('src/core/b.ts', '')],
  ],
  ['layers: a client that reaches into src', layers, [file('cli/a.ts', "import '../src/core/b.ts'")], [file('cli/a.ts', "import '../client/b.ts'")]],
  [
    'layers: a runtime that knows src',
    layers,
    [file('runtimes/node/a.mjs', "import '../../src/core/b.ts'")],
    [file('runtimes/node/a.mjs', "import './b.mjs'")],
  ],
  ['doors: past the door', doors, [file('src/gateway/a.ts', "import '../auth/service.ts'")], [file('src/gateway/a.ts', "import '../auth/index.ts'")]],
  ['doors: through its own', doors, [file('src/auth/a.ts', "import './index.ts'")], [file('src/auth/a.ts', "import './service.ts'")]],
  ['world: the environment', world, [file('src/core/a.ts', 'export const x = process.env.X')], [file('src/main.ts', 'export const x = process.env.X')]],
  ['world: the clock', world, [file('src/core/a.ts', 'export const x = Date.now()')], [file('src/core/a.ts', '// Date.now is for lib\nexport const x = 1')]],
  ['words: a name', words, [file('src/core/a.ts', 'export const tenantId = 1')], [file('src/core/a.ts', "export const projectId = 'tenant'")]],
  [
    'words: a foreign name',
    words,
    [file('src/core/a.ts', 'export const lambdaName = 1')],
    [file('src/functions/dialects/x/a.ts', 'export const lambdaName = 1')],
  ],
  ['words: an unfinished mark', words, [file('src/core/a.ts', `// ${'TO'}${'DO'} later`)], [file('src/core/a.ts', '// later')]],
  ['tables: SQL outside a store', tables, [file('src/auth/a.ts', 'sql`select a from b`')], [file('src/auth/store.ts', 'sql`select a from b`')]],
  [
    'docs: a path that is not there',
    docPaths((path) => path === 'src/core'),
    [file('ARCHITECTURE.md', 'see `src/nothing`')],
    [file('ARCHITECTURE.md', 'see `src/core/`')],
  ],
]

describe('tidy', () => {
  for (const [name, check, bad, good] of rows) {
    it(`${name} is found once`, () => assert.equal(check(bad).length, 1))
    it(`${name}: its good twin is not`, () => assert.deepEqual(check(good), []))
  }
})
