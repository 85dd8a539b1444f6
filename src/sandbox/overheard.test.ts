import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { PoolFixture, refusalOf } from './pool-fixture.ts'

const MB = 1024 * 1024
const CODE = `const fs = require('node:fs'); const { spawnSync } = require('node:child_process')
fs.writeSync(1, 'as it loads\\n')
const shell = (line) => spawnSync('/bin/sh', ['-c', line], { stdio: 'inherit' })
exports.handler = async ({ n, flood, own, warns, aborts, leaves, sends }) => {
  if (aborts) process.abort()
  if (leaves) process.reallyExit(leaves)
  if (sends) { process.kill(process.pid, sends); for (;;); }
  if (flood) shell('head -c ' + flood + ' /dev/zero | tr "\\\\0" "x"; echo; echo the end of the flood')
  if (own) { const piece = 'y'.repeat(65535) + '\\n'; for (let at = 0; at < own; at += piece.length) fs.writeSync(1, piece); fs.writeSync(1, 'the end of my own\\n') }
  if (warns) { process.emitWarning('mind this'); await new Promise((later) => setTimeout(later, 20)) }
  if (n !== undefined) { shell('echo child out ' + n + '; echo child err ' + n + ' >&2'); fs.writeSync(2, 'own err ' + n + '\\n') }
  return n ?? 'well'
}`
const drivers: ('process' | 'runc' | 'bwrap')[] = ['process']
for (const name of ['runc', 'bwrap'] as const) if ((await refusalOf(name)) === null) drivers.push(name)

for (const name of drivers) {
  describe(`past the runtime, in a sandbox by ${name}`, { timeout: 240_000 }, () => {
    const fixture = new PoolFixture(name, { code: CODE })
    before(() => fixture.openFirst())
    after(() => fixture[Symbol.asyncDispose]())
    const called = async (event: unknown, environment: Readonly<Record<string, string>> = {}) => {
      const parts: string[] = []
      const log = { write: (_: string, bytes: Uint8Array) => void parts.push(Buffer.from(bytes).toString()), lost: () => {} }
      const { value } = await fixture.call(fixture.specOf('code', { key: `code ${Object.keys(environment).join()}`, environment }), event, log)
      return { value, log: parts.join('') }
    }

    // Also where its Node is not the one that waited.
    for (const environment of [{}, { NODE_OPTIONS: '--enable-source-maps' }])
      test(`what is written is in the log of the call that runs, and in no other ${Object.keys(environment).join()}`, async () => {
        let whole = 0
        for (let n = 0; n < 20; n++) {
          const { value, log } = await called({ n }, environment)
          assert.equal(value, n)
          if (n === 0) assert.match(log, /^as it loads\n/)
          if (log.includes(`child out ${n}\nchild err ${n}\n`)) whole++
          assert.doesNotMatch(log.replaceAll(new RegExp(`(child out|child err|own err) ${n}\n|as it loads\n`, 'g'), ''), /\d/, 'of another call')
        }
        // On a busy host an end may be read before what was written ahead of it.
        assert.ok(whole >= 15, `${whole} of 20`)
        assert.match((await called({ warns: true }, environment)).log, /Warning: mind this/)
      })

    test('who writes much waits for it, and loses nothing', async () => {
      const flood = await called({ flood: 2 * MB })
      assert.equal(flood.value, 'well')
      assert.ok(flood.log.length > 2 * MB && flood.log.includes('the end of the flood'), String(flood.log.length))
      assert.equal((await called({ own: 2 * MB })).value, 'well')
    })

    test('an end is told by the signal or the status that was its own', async () => {
      const aborted = await called({ aborts: true })
      assert.match(aborted.value.errorMessage, /signal: aborted$/)
      assert.match(aborted.log, /Native stack trace/)
      for (const [event, words] of [
        [{ sends: 'SIGSEGV' }, /signal: segmentation fault$/],
        [{ sends: 'SIGKILL' }, /signal: killed$/],
        [{ leaves: 9 }, /exit status 9$/],
      ] as const)
        assert.match((await called(event)).value.errorMessage, words)
      assert.equal((await called({})).value, 'well')
    })
  })
}
