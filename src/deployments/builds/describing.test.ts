import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type CallResult, LoadError, type Sandboxes, type SandboxSpec } from '../../sandbox/index.ts'
import { DESCRIBE, describeApp } from './describing.ts'

const REQUEST = {
  artefact: 'a'.repeat(64),
  framework: 'google',
  runtime: 'nodejs24.x',
  handler: 'hello',
  environment: { MODE: 'x' },
  installScripts: [],
  registries: [],
  legacyPeerDeps: false,
  run: [],
} as const

function world(outcome: CallResult | Error) {
  const specs: SandboxSpec[] = []
  const retired: string[] = []
  const sandboxes = {
    acquire: async (spec: SandboxSpec) => {
      specs.push(spec)
      if (outcome instanceof Error) throw outcome
      return { run: async () => outcome, [Symbol.dispose]: () => {} }
    },
    retire: (key: string) => void retired.push(key),
  } as unknown as Sandboxes
  return { specs, retired, ask: () => describeApp(sandboxes, 'id', '/code', REQUEST) }
}

const answer = (text: string): CallResult => ({
  kind: 'http',
  status: 200,
  headers: [],
  body: {
    receivedBytes: 0,
    takeWhole: () => null,
    async *[Symbol.asyncIterator]() {
      yield Buffer.from(text)
    },
  },
})

describe('what an app registers', () => {
  it('is asked in a sandbox of its own, without network or rights, which ends', async () => {
    const { ask, specs, retired } = world(answer('{"functions":[{"name":"hello","trigger":"http","details":{"a":1}}],"warnings":["w"]}'))
    assert.deepEqual(await ask(), { functions: [{ name: 'hello', trigger: 'http', details: { a: 1 } }], warnings: ['w'] })
    assert.equal(specs[0]?.egress.mode, 'none')
    assert.equal(specs[0]?.identity.role, 'none')
    assert.equal(specs[0]?.environment[DESCRIBE], '1')
    assert.equal(specs[0]?.environment.MODE, 'x')
    assert.deepEqual(retired, [specs[0]?.key])
  })

  it('is told by the line of its own file where it does not load', async () => {
    const trace = [
      'TypeError: no',
      '    at Object.<anonymous> (/var/task/index.js:4:27)',
      '    at load (file:///var/runtime/loading.mjs:1:1)',
      '    at node:internal/x:1',
    ]
    const { ask } = world(new LoadError('TypeError', Buffer.from(JSON.stringify({ errorType: 'TypeError', errorMessage: 'no', trace }))))
    await assert.rejects(ask(), { code: 'app_broken', message: 'the app does not load: TypeError: no\n    at Object.<anonymous> (index.js:4:27)' })
  })

  it('is believed in its form only', async () => {
    for (const text of [
      '',
      '[]',
      '{"functions":{},"warnings":[]}',
      '{"functions":[{"name":1,"trigger":"a","details":{}}],"warnings":[]}',
      `{"functions":[],"warnings":["${'x'.repeat(1_100_000)}"]}`,
    ])
      await assert.rejects(world(answer(text)).ask(), { code: 'app_broken' })
    await assert.rejects(world({ kind: 'error', errorType: 'E', payload: Buffer.from('{"errorType":"E","errorMessage":"m"}') }).ask(), {
      code: 'app_broken',
      message: /E: m/,
    })
  })
})
