import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { count, environmentName, flag, flagName, list, milliseconds, oneOf, resolveSettings, SettingsError, text } from './settings.ts'

const sections = {
  node: {
    port: count({ default: 54321, min: 0, max: 65535, doc: 'port' }),
    json: flag({ default: false, doc: 'json' }),
    behindProxy: list({ doc: 'proxies' }),
  },
  sandbox: {
    sandbox: oneOf(['auto', 'runc'], { default: 'auto', doc: 'driver' }),
    idleMs: milliseconds({ default: 60_000, min: 1_000, max: 900_000, doc: 'idle' }),
  },
  database: { url: text({ default: null, doc: 'url', pattern: /^postgres/, takes: 'a PostgreSQL URL', secret: true }) },
}
const resolve = (flags: Record<string, string | boolean>, environment: Record<string, string> = {}, file: unknown = null) =>
  resolveSettings(sections, { flags, environment, file })
const problems = (work: () => unknown): readonly string[] => {
  try {
    work()
  } catch (error) {
    assert.ok(error instanceof SettingsError)
    return error.problems
  }
  return assert.fail('nothing was wrong')
}

describe('resolveSettings', () => {
  it('names flags and variables after section and setting', () => {
    assert.deepEqual(
      [flagName('node', 'behindProxy'), environmentName('sandbox', 'idleMs'), flagName('sandbox', 'sandbox')],
      ['behind-proxy', 'MAYFLY_SANDBOX_IDLE_MS', 'sandbox'],
    )
  })
  it('lets a flag beat the environment, that the file, that the default, and says which it was', () => {
    const made = resolve({ port: '1' }, { MAYFLY_PORT: '2', MAYFLY_SANDBOX_IDLE_MS: '2000' }, { port: 3, sandbox: { idleMs: 3000, sandbox: 'runc' } })
    assert.deepEqual(made.values, { node: { port: 1, json: false, behindProxy: [] }, sandbox: { sandbox: 'runc', idleMs: 2000 }, database: { url: null } })
    assert.deepEqual(made.origins, {
      'node.port': 'flag',
      'node.json': 'default',
      'node.behindProxy': 'default',
      'sandbox.sandbox': 'file',
      'sandbox.idleMs': 'environment',
      'database.url': 'default',
    })
  })
  it('lists every problem at once, with what may stand there', () => {
    assert.deepEqual(
      problems(() => resolve({ port: '70000', sandbox: 'docker', prot: '1' }, { MAYFLY_SANDBOX_IDLE_MS: 'soon' }, { prot: 1, sandbox: { what: 1 } })),
      [
        '--port must be a whole number from 0 to 65535',
        '--sandbox must be one of auto, runc',
        'MAYFLY_SANDBOX_IDLE_MS must be a whole number of milliseconds from 1000 to 900000',
        '--prot is not an option; did you mean --port?',
        '"prot" in mayfly.config.json is not a setting; did you mean --port?',
        '"sandbox.what" in mayfly.config.json is not a setting',
      ],
    )
  })
  it('does not repeat a wrong value, which may be a secret', () =>
    assert.ok(
      !problems(() => resolve({ 'database-url': 'hunter2' }))
        .join()
        .includes('hunter2'),
    ))
  it('takes lists by comma or as a list', () => {
    assert.deepEqual(resolve({ 'behind-proxy': '10.0.0.0/8, ::1' }).values.node.behindProxy, ['10.0.0.0/8', '::1'])
    assert.deepEqual(resolve({}, {}, { behindProxy: ['a'] }).values.node.behindProxy, ['a'])
    problems(() => resolve({ 'behind-proxy': 'a,,b' }))
  })
  for (const file of [[], 'x', 1]) it(`refuses a file that holds ${JSON.stringify(file)}`, () => void problems(() => resolve({}, {}, file)))
})
