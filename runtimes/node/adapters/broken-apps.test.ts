import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'

const ROOT = path.resolve(import.meta.dirname, '..', '..', '..')
const LOADING = path.join(import.meta.dirname, '..', 'loading.mjs')
const OURS = new RegExp(path.join(ROOT, 'runtimes'))

/** Line 4, column 11 of `src/hello.ts`, of line 2 of what was compiled. */
const MAP = JSON.stringify({ version: 3, file: 'index.js', sources: ['../src/hello.ts'], names: [], mappings: ';AAGU' })

const AZURE = "const { app } = require('@azure/functions')\n"
const GOOGLE = "const functions = require('@google-cloud/functions-framework')\n"
const azure = (handler: string) => `${AZURE}app.http('hello', { handler: () => { ${handler} } })\n`
const google = (handler: string) => `${GOOGLE}functions.http('hello', (_req, res) => { ${handler} })\n`

interface Case {
  readonly what: string
  readonly code: string
  readonly says: RegExp
  /** It loads, and breaks when it is called. */
  readonly called?: true
  readonly type?: 'module'
  readonly map?: true
}

const casesOf = (head: string, wrap: (handler: string) => string, esm: string): Case[] => [
  { what: 'what is no JavaScript', code: `${head}const a = {\n`, says: /SyntaxError: [\s\S]*dist\/index\.js:\d/ },
  { what: 'what throws while it loads', code: `${head}undefined.greeting\n`, says: /TypeError: [\s\S]*dist\/index\.js:2:11/ },
  { what: 'what imports nothing that is there', code: `${head}require('not-there')\n`, says: /Cannot find module 'not-there'[\s\S]*dist\/index\.js/ },
  {
    what: 'what imports no file that is there',
    code: `${esm}import './not-there.js'\n`,
    says: /Cannot find module '[^']*not-there\.js'[\s\S]*dist\/index\.js/,
    type: 'module',
  },
  { what: 'what throws when it is called', code: wrap("throw new Error('closed')"), says: /Error: closed[\s\S]*dist\/index\.js:2:\d+/, called: true },
  {
    what: 'compiled code that throws while it loads',
    code: `${head}          undefined.greeting\n//# sourceMappingURL=index.js.map\n`,
    says: /TypeError: [\s\S]*src\/hello\.ts:4:11/,
    map: true,
  },
  {
    what: 'compiled code that throws when it is called',
    code: `${wrap("throw new Error('closed')")}//# sourceMappingURL=index.js.map\n`,
    says: /Error: closed[\s\S]*src\/hello\.ts:4:11/,
    called: true,
    map: true,
  },
]

const CLOUDS = [
  { framework: 'azure', target: 'app.http', url: '/api/hello', cases: casesOf(AZURE, azure, "import { app } from '@azure/functions'\n") },
  { framework: 'google', target: 'hello', url: '/', cases: casesOf(GOOGLE, google, "import * as functions from '@google-cloud/functions-framework'\n") },
]

describe('an app of another cloud that is broken', () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-broken-'))
    mkdirSync(path.join(folder, 'dist'))
    writeFileSync(path.join(folder, 'host.json'), '{"version":"2.0"}')
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  /** Loads it as a sandbox does, in a process of its own, and calls it. @returns what its log says, as it does in a sandbox */
  const told = (framework: string, target: string, url: string) => {
    const program = `
      import { load } from ${JSON.stringify(LOADING)}
      import { errorPayload } from ${JSON.stringify(path.join(import.meta.dirname, '..', 'errors.mjs'))}
      let error = null
      try {
        const { run } = await load(${JSON.stringify(folder)}, ${JSON.stringify(target)}, ${JSON.stringify(framework)})
        const answer = await run(new Request('http://x${url}', { headers: { 'x-forwarded-for': '1.1.1.1' } }), {}, { awsRequestId: 'i' })
        console.error('answered', answer.status)
      } catch (thrown) {
        const { errorType, errorMessage, trace } = errorPayload(thrown)
        console.error([\`\${errorType}: \${errorMessage}\`, ...trace].join('\\n'))
      }
      process.exit()`
    const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
      timeout: 60_000,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
      env: { NODE_ENV: 'production' },
    })
    return stderr
  }

  for (const { framework, target, url, cases } of CLOUDS)
    for (const { what, code, says, called, type, map } of cases)
      it(`${framework}: ${what} is told by the line of the user's own file`, () => {
        writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ main: 'dist/index.js', ...(type ? { type } : {}) }))
        writeFileSync(path.join(folder, 'dist', 'index.js'), code)
        rmSync(path.join(folder, 'dist', 'index.js.map'), { force: true })
        if (map) writeFileSync(path.join(folder, 'dist', 'index.js.map'), MAP)
        const said = told(framework, target, url)
        assert.match(said, says)
        assert.doesNotMatch(said, OURS)
        if (called) assert.match(said, /answered 500/)
      })
})
