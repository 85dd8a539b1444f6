import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { describe, it } from 'node:test'
import { Guest } from '../conformance/guest.ts'
import { SAYS } from '../conformance/frames.ts'
import { nodeRuntime } from './conformance.ts'
import { CONVENTIONS, type Convention } from './conventions.ts'

/** The Node that runs this, and those beside it that were installed. */
const nodes = [22, 26].map((major) => ({
  name: `Node ${major}`,
  file: path.join(import.meta.dirname, '..', '..', 'tools', `node${major}`, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node'),
}))
const runtimes = [
  { name: 'Node', runtime: nodeRuntime(process.execPath) },
  ...nodes.filter(({ file }) => existsSync(file)).map(({ name, file }) => ({ name, runtime: nodeRuntime(file) })),
]

const codeOf = ({ code, handler = 'index.handler' }: Convention) => ({ files: typeof code === 'string' ? { 'index.mjs': code } : code, handler })
const shapeOf = (text: string, id: string) => text.replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'TIME').replaceAll(id, 'ID')

for (const { name, runtime } of runtimes) {
  describe(`a handler for ${name}`, { concurrency: 2, timeout: 60_000 }, () => {
    for (const row of CONVENTIONS) {
      it(row.what, async () => {
        await using guest = await Guest.start(runtime)
        const changes = { environment: row.environment ?? {} }
        if (row.refused) {
          guest.specialise(codeOf(row), changes)
          const error = JSON.parse((await guest.hears(SAYS.loadError)).payload.toString()) as { errorType: string; errorMessage: string }
          assert.equal(error.errorType, row.refused.errorType)
          assert.match(error.errorMessage, row.refused.errorMessage)
          assert.match(
            shapeOf(guest.own.err, 'none'),
            new RegExp(`^TIME\\tundefined\\tERROR\\tUncaught Exception \\t\\{"errorType":"${row.refused.errorType}","errorMessage":"`),
          )
          return
        }
        assert.equal(await guest.load(codeOf(row), changes), row.answers === undefined ? 'lambda' : 'fetch')
        if (row.answers !== undefined) {
          assert.equal((await guest.done(guest.http())).text, row.answers)
          return
        }
        const id = guest.event(row.event ?? {}, row.context)
        const call = await guest.done(id)
        if (row.fails) {
          assert.equal(call.outcome, 'error', call.text)
          assert.equal(call.error.errorType, row.fails.errorType)
          assert.match(call.error.errorMessage, row.fails.errorMessage ?? /^/)
          if (row.fails.trace) assert.deepEqual(call.error.trace, row.fails.trace)
        } else assert.deepEqual(call.json, row.returns)
        if (row.writes) assert.match(shapeOf(call.out + call.err, `id-${id}`), row.writes)
      })
    }
  })
}
