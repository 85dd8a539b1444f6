import assert from 'node:assert/strict'
import { after, it } from 'node:test'
import { ONCE, Soak, tableOf } from '../soak/soak.ts'
import { makeFolder, PROCESSES, removeFolder } from './harness.ts'

const folder = makeFolder()
after(() => removeFolder(folder))

const isolated = process.getuid?.() === 0

it('calls, deployments, deletions, kills of sandboxes and of the node: each call has its outcome, each execution its meter, and the node holds what it held', {
  skip: !isolated && 'sandboxes are counted by control groups that root makes',
}, async (t) => {
  const { looks, outcomes, problems } = await Soak.run({
    folder,
    calls: 100,
    minutes: 1,
    atOnce: 4,
    workers: PROCESSES - 1,
    nodeKills: 1,
    looks: 2,
    once: ONCE,
    say: () => {},
  })
  t.diagnostic(`${JSON.stringify(outcomes)}\n${tableOf(looks)}`)
  assert.deepEqual(problems, [])
  assert.ok(outcomes.ok > 50)
})
