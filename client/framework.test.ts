import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, beforeEach, describe, it } from 'node:test'
import { appOf, type Framework, frameworkOf } from './framework.ts'

describe('what an app of another cloud says of how it is started', () => {
  let folder = ''
  beforeEach(() => {
    if (folder !== '') rmSync(folder, { recursive: true })
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-framework-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const app = (framework: Framework, own: object, definition: Readonly<Record<string, unknown>> = {}, files: Readonly<Record<string, string>> = {}) => {
    writeFileSync(path.join(folder, 'package.json'), JSON.stringify(own))
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
      writeFileSync(path.join(folder, name), text)
    }
    return appOf(folder, framework, definition, { name: 'named', variables: {} })
  }

  it('is the target, signature and source of Google: by settings, by `start`, by its name', () => {
    const start = { start: 'npx functions-framework --target=byStart --signature-type cloudevent --source="src"' }
    const cases: [object, Record<string, unknown>, string, Record<string, string>][] = [
      [{}, {}, 'named', {}],
      [{ scripts: start }, {}, 'byStart', { FUNCTION_SIGNATURE_TYPE: 'cloudevent', FUNCTION_SOURCE: 'src' }],
      [{ scripts: start }, { environment: { FUNCTION_TARGET: 'bySetting' } }, 'bySetting', { FUNCTION_SIGNATURE_TYPE: 'cloudevent', FUNCTION_SOURCE: 'src' }],
      [
        { scripts: start },
        { environment: { GOOGLE_FUNCTION_TARGET: 'ofBuilder', GOOGLE_FUNCTION_SIGNATURE_TYPE: 'event' } },
        'ofBuilder',
        { FUNCTION_SIGNATURE_TYPE: 'event' },
      ],
      [{ scripts: start }, { entryPoint: 'byFlag', environment: { FUNCTION_SIGNATURE_TYPE: 'http' } }, 'byFlag', { FUNCTION_SIGNATURE_TYPE: 'http' }],
    ]
    for (const [own, definition, handler, environment] of cases) {
      const made = app('google', own, definition)
      assert.equal(made.handler, handler)
      for (const [name, value] of Object.entries(environment)) assert.equal(made.environment[name], value)
    }
    assert.match(app('google', { scripts: { start: 'node server.js' } }).app.warnings.join(), /"start" of package\.json does not start functions-framework/)
  })

  it('is what builds it: `gcp-build` or the scripts that a setting names, and `build` of Azure where files are missing', () => {
    const run = (...given: Parameters<typeof app>) => app(...given).app.run
    assert.deepEqual(run('google', { scripts: { build: 'tsc' } }), [])
    assert.deepEqual(run('google', { scripts: { 'gcp-build': 'tsc' } }), ['gcp-build'])
    assert.deepEqual(run('google', { scripts: { 'gcp-build': '' } }), [])
    assert.deepEqual(run('google', { scripts: { 'gcp-build': 'tsc' } }, { environment: { GOOGLE_NODE_RUN_SCRIPTS: 'lint, build' } }), ['lint', 'build'])
    const azure = { main: 'dist/{index.js,functions/*.js}', scripts: { build: 'tsc' } }
    assert.deepEqual(run('azure', azure), ['build'])
    assert.deepEqual(run('azure', { main: azure.main }), [])
    assert.deepEqual(run('azure', azure, {}, { 'dist/functions/hello.js': '' }), [])
  })

  it('names lockfiles that are not read', () => {
    const warnings = (files: Record<string, string>) => app('google', {}, {}, files).app.warnings
    assert.match(warnings({ 'bun.lock': '{}' }).join(), /bun\.lock is not read, and its versions are not honoured/)
    assert.deepEqual(warnings({ 'package-lock.json': '{}' }), [])
  })

  it('is whose it is', () => {
    app('azure', { dependencies: { '@azure/functions': '^4' } }, {}, { 'host.json': '{}' })
    assert.equal(frameworkOf(folder, {}), 'azure')
    app('google', { dependencies: { '@google-cloud/functions-framework': '^5' } })
    assert.equal(frameworkOf(folder, {}), 'google')
    assert.equal(frameworkOf(folder, { framework: null }), null)
  })
})
