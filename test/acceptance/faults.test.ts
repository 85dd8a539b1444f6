import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { after, it } from 'node:test'
import type { FaultsResult } from '../faults/faults.ts'
import { makeFolder, ROOT, removeFolder } from './harness.ts'

const folder = makeFolder()
after(() => removeFolder(folder))

// The long run is `npm run faults`.
it('events of every kind over kill -9 of the node, of PostgreSQL and of sandboxes: what was acknowledged ran or is a dead letter, in its order, and is metered', async (t) => {
  const file = path.join(folder, 'result.json')
  const program = [path.join(ROOT, 'bin', 'mayfly.js'), '--node', path.join(ROOT, 'test', 'faults', 'run.ts')]
  const args = ['--short', '--events', '500', '--drain-seconds', '120', '--result', file]
  const run = spawn(process.execPath, [...program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  run.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  await once(run, 'exit')
  t.diagnostic(said)
  const { problems, found, struck, skipped } = JSON.parse(readFileSync(file, 'utf8')) as Pick<FaultsResult, 'problems' | 'found'> &
    Record<'struck' | 'skipped', [name: string, what: unknown][]>
  assert.deepEqual(problems, [], said)
  // Any machine can have these two; only a sandbox may be none that is found.
  const done = struck.map(([name]) => name)
  assert.deepEqual(
    ['kill PostgreSQL', 'kill the node'].filter((name) => !done.includes(name)),
    [],
    said,
  )
  assert.deepEqual([...done, ...skipped.map(([name]) => name)].toSorted(), ['kill PostgreSQL', 'kill sandboxes', 'kill the node'])
  for (const [name, why] of skipped) assert.ok(typeof why === 'string' && why !== '', `${name} is left out for no reason`)
  for (const { kind, seen, metered } of found) assert.ok(seen > 0 && metered > 0, `${kind}: ${said}`)
})
