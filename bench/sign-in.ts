import { argon2, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { mayfly, startMayfly } from '../test/acceptance/harness.ts'
import { pause, show, timed } from './measure.ts'

// Sign-ins a second beside bare argon2id with the same parameters and as many at once, and what warm calls take meanwhile.
// Usage: npm run bench:sign-in

const RUN_MS = 8_000
const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)

/** How often a second `work` is done by `atOnce` that do it again and again. */
async function rateOf(atOnce: number, work: () => Promise<unknown>): Promise<number> {
  const from = performance.now()
  let done = 0
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (performance.now() - from < RUN_MS) {
        await work()
        done++
      }
    }),
  )
  return (done * 1_000) / (performance.now() - from)
}

const message = Buffer.from('a password of some length')
const hash = () =>
  new Promise<void>((resolve, reject) =>
    argon2('argon2id', { message, nonce: randomBytes(16), memory: 19_456, passes: 2, parallelism: 1, tagLength: 32 }, (error) =>
      error ? reject(error) : resolve(),
    ),
  )

const node = await startMayfly(path.join(folder, 'data'), ['--auth-token-rate', '100000000'])
try {
  const { url, publishableKey } = node.ready.project
  const code = path.join(folder, 'hello')
  mkdirSync(code)
  writeFileSync(path.join(code, 'index.js'), "export default { fetch: () => new Response('hello') }")
  mayfly(['deploy', code, '--data', node.data])
  const post = async (at: string, body: object) => {
    const reply = await fetch(`${url}/auth/v1/${at}`, { method: 'POST', headers: { apikey: publishableKey }, body: JSON.stringify(body) })
    if (reply.status !== 200) throw new Error(`${reply.status} ${await reply.text()}`)
    await reply.arrayBuffer()
  }
  const users = Array.from({ length: 20 }, (_, n) => ({ email: `user${n}@example.com`, password: 'a password of some length' }))
  for (const user of users) await post('signup', user)
  let n = 0
  const signIn = () => post('token?grant_type=password', users[n++ % users.length] as object)
  const call = async () => void (await (await fetch(`${url}/functions/v1/hello`, { headers: { apikey: publishableKey } })).text())
  const calls = async (ms: number) => {
    const all: number[] = []
    for (const from = performance.now(); performance.now() - from < ms; ) {
      all.push(await timed(call))
      await pause(5)
    }
    return all
  }
  await calls(1_000)
  const alone = show('a warm call', await calls(RUN_MS))
  const half = Math.max(1, Math.floor(availableParallelism() / 2))
  const before = await rateOf(half, hash)
  const rate = await rateOf(4, signIn)
  const bare = (before + (await rateOf(half, hash))) / 2
  process.stdout.write(`sign-ins ${rate.toFixed(1)}/s, bare argon2id ${bare.toFixed(1)}/s, ${half} at once: ratio ${(rate / bare).toFixed(2)} (aim ≥ 0.85)\n`)
  const [beside] = await Promise.all([calls(RUN_MS), rateOf(4, signIn)])
  const busy = show('a warm call beside sign-ins', beside)
  const p99 = (all: { p99: number }) => all.p99
  process.stdout.write(`p99 of a warm call beside sign-ins ÷ alone: ${(p99(busy) / p99(alone)).toFixed(2)} (aim ≤ 3)\n`)
} finally {
  await node.stop()
  rmSync(folder, { recursive: true, force: true })
}
