import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, lstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { detectHierarchies } from '../../lib/cgroup.ts'
import { PoolFixture, until } from '../pool-fixture.ts'

const HANDLER = 'exports.handler = async () => process.env.SECRET.length'
/** Regions of a process that are larger are of V8's cage, and empty but for a few pages: the kernel gives those as zeros. */
const MAX_REGION = 256 * 1024 * 1024
const CHUNK = Buffer.alloc(1 << 20)

/** Whether the memory that a process can write has these bytes. */
function remembers(pid: number, bytes: Buffer): boolean {
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
      const [, from = '0', to = '0'] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? []
      const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)]
      if (end - start > MAX_REGION) continue
      for (let at = start; at < end; at += CHUNK.length - bytes.length) {
        let read = 0
        try {
          read = readSync(memory, CHUNK, 0, Math.min(CHUNK.length, end - at), at)
        } catch {
          break
        }
        if (CHUNK.subarray(0, read).includes(bytes)) return true
      }
    }
    return false
  } finally {
    closeSync(memory)
  }
}

/** Null where it is gone by now: runc writes its state beside the one before, and gives it that one's name. */
function unlessGone<T>(look: () => T): T | null {
  try {
    return look()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return null
  }
}

function filesBelow(folder: string): string[] {
  return (unlessGone(() => readdirSync(folder)) ?? []).flatMap((name) => {
    const at = path.join(folder, name)
    const status = unlessGone(() => lstatSync(at))
    return status?.isDirectory() ? filesBelow(at) : status?.isFile() ? [at] : []
  })
}

describe('a secret of a function', { skip: process.getuid?.() === 0 ? false : 'runc takes root' }, () => {
  const secret = randomBytes(24).toString('hex')
  let world: PoolFixture
  const processesOf = async (id: string) => {
    const { all } = await detectHierarchies()
    const group = `mayfly-${world.driverName}`
    const pids = all.flatMap((tree) => {
      try {
        return readFileSync(path.join(tree, group, id, 'cgroup.procs'), 'utf8')
          .split('\n')
          .filter(Boolean)
          .map(Number)
      } catch {
        return []
      }
    })
    return [...new Set(pids)]
  }
  before(async () => {
    world = new PoolFixture('runc', { holder: HANDLER, other: 'exports.handler = async () => 1' })
    await world.openFirst()
    await world.call(world.specOf('other'))
    const { value } = await world.call(world.specOf('holder', { environment: { SECRET: secret } }))
    assert.equal(value, secret.length)
    await until(() => world.pool.status().generic > 0)
  })
  after(() => world[Symbol.asyncDispose]())

  it('runc: is in the memory of its own sandbox, and of no other, those that wait included', async () => {
    const { sandboxes } = world.pool.status()
    const seen: Record<string, boolean> = {}
    let waiting = 0
    /** A program that only helped to start may have ended since it was listed. */
    const isThere = (pid: number) => existsSync(`/proc/${pid}/maps`) && readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.[0] !== 'Z'
    for (const id of readdirSync(path.join('/run', `mayfly-sandboxes-${world.driverName}`, 'b'))) {
      const name = sandboxes.find((one) => one.id === id)?.functionName ?? 'waiting'
      const pids = await processesOf(id)
      // One that is only being started has none yet.
      if (pids.length === 0) continue
      if (name === 'waiting') waiting++
      for (const pid of pids.filter(isThere)) seen[name] = seen[name] === true || remembers(pid, Buffer.from(secret))
    }
    assert.ok(waiting > 0)
    assert.deepEqual(seen, { holder: true, other: false, waiting: false })
  })

  it('runc: stands in no file of the node, of runc, or of the pool', () => {
    for (const folder of [world.data, `/run/mayfly-sandboxes-${world.driverName}`]) {
      const texts = filesBelow(folder).map((file) => ({ file, text: unlessGone(() => readFileSync(file)) }))
      assert.ok(texts.some(({ text }) => text !== null))
      for (const { file, text } of texts) assert.notEqual(text?.includes(secret), true, file)
    }
  })

  it('runc: is no argument and no variable of any process of the host', () => {
    const told = readdirSync('/proc').filter((pid) => {
      if (!/^\d+$/.test(pid)) return false
      try {
        return ['cmdline', 'environ'].some((file) => readFileSync(`/proc/${pid}/${file}`).includes(secret))
      } catch {
        return false
      }
    })
    assert.deepEqual(told, [])
  })
})
