import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Check, Source } from './sources.ts'
import { CHECKSUMS, catalogues, docPaths, doors, layers, routes, sha256, tables, words, world } from './tidy.ts'

const file = (path: string, text: string): Source => ({ path, text })
const migration = (head: string, sql: string, sealed = `${head}\n${sql}`) => [
  file('migrations/control/0001_a.sql', `${head}\n${sql}`),
  file(CHECKSUMS, JSON.stringify({ 'migrations/control/0001_a.sql': sha256(sealed) })),
]
const errors = file('src/core/errors.ts', "export const ERRORS = {\n  a_fault: { status: 400, retry: 'never', hint: '' },\n}")
const thrower = file('src/core/a.ts', "throw new MayflyError('a_fault', 'x')")
const limits = file('src/core/limits.ts', "export const LIMITS = {\n  most: { value: 1, provenBy: 'src/core/a.test.ts' },\n}")
const holder = file('src/core/b.ts', 'if (n > LIMITS.most.value) stop()')
const expects = file('src/core/a.test.ts', "it('most', () => assert.equal(code, 'a_fault'))")
const api = (who: string) => file('docs/api.md', `| GET | \`/a/:b\` | ${who} | node | x |`)
const apiTest = file('test/acceptance/a.test.ts', "row('GET /a/:b')")
const apiCoverage = file('test/acceptance/COVERAGE.md', '- `GET /a/:b`')
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
    'layers: a step to the side that nobody takes',
    layers,
    [file('src/triggers/a.ts', '')],
    [file('src/triggers/a.ts', "import type { b } from '../invoke/index.ts'")],
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
  [
    'tables: SQL that is made of requests',
    tables,
    [file('src/data/plan/a.ts', 'const text = `select a from b`')],
    [file('src/data/query/a.ts', 'const text = `select a from b`')],
  ],
  ['tables: SQL outside a store', tables, [file('src/auth/a.ts', 'sql`select a from b`')], [file('src/auth/store.ts', 'sql`select a from b`')]],
  [
    "tables: another room's table",
    tables,
    [...migration('-- auth: keys.', 'create table mayfly.key ();'), file('src/usage/store.ts', 'sql`select 1 from mayfly.key`')],
    [...migration('-- auth: keys.', 'create table mayfly.key ();'), file('src/auth/store.ts', 'sql`delete from mayfly.key`')],
  ],
  [
    "tables: a change of core's",
    tables,
    [...migration('-- core: projects.', 'create table mayfly.project ();'), file('src/auth/store.ts', 'sql`update mayfly.project set a = 1`')],
    [...migration('-- core: projects.', 'create table mayfly.project ();'), file('src/auth/store.ts', 'sql`select 1 from mayfly.project`')],
  ],
  ['tables: one that nobody makes', tables, [file('src/auth/store.ts', 'sql`select 1 from mayfly.ghost`')], [file('src/auth/store.ts', 'sql`select 1`')]],
  ['tables: a changed migration', tables, migration('-- auth: keys.', 'select 2;', '-- auth: keys.\nselect 1;'), migration('-- auth: keys.', 'select 1;')],
  ['tables: a migration without a seal', tables, migration('-- auth: keys.', 'select 1;').slice(0, 1), []],
  ['tables: a migration that went', tables, migration('-- auth: keys.', 'select 1;').slice(1), []],
  ['tables: a migration without an owner', tables, migration('-- keys', 'select 1;'), migration('-- auth: keys.', 'select 1;')],
  [
    'catalogues: an error that is not listed',
    catalogues,
    [errors, thrower, expects, file('src/core/c.ts', "new MayflyError('none', '')")],
    [errors, thrower, expects],
  ],
  ['catalogues: an error that nobody throws', catalogues, [errors, expects], [errors, thrower, expects]],
  ['catalogues: an error that no test expects', catalogues, [errors, thrower], [errors, thrower, expects]],
  ['catalogues: a limit that its test does not name', catalogues, [limits, holder, file('src/core/a.test.ts', '')], [limits, holder, expects]],
  ['catalogues: a limit that nobody holds', catalogues, [limits, expects], [limits, holder, expects]],
  ['routes: no word on who may come in', routes, [api(''), apiTest, apiCoverage], [api('anyone'), apiTest, apiCoverage]],
  ['routes: no row in a test', routes, [api('anyone'), apiCoverage], [api('anyone'), apiTest, apiCoverage]],
  ['routes: not in the coverage', routes, [api('anyone'), apiTest], [api('anyone'), apiTest, apiCoverage]],
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
