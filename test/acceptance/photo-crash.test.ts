import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, describe, it } from 'node:test'
import { makeFolder, type Ready, type RunningMayfly, removeFolder, startMayfly, NO_SPARE } from './harness.ts'
import { clientOf, deadLetters, deployPhotoApp, download, executions, manage, noisyPng, nothingLeft, pause, sha256, thumbnailsOf, until } from './photos.ts'

const POINTS = ['afterBytesFsync', 'afterObjectCommit', 'afterRelay', 'afterLease', 'duringRun', 'afterRunBeforeSettle', 'afterThumbnailCommit'] as const
// Small, so that what dies and comes again is the node and not much of it the picture's arithmetic.
const PICTURE = noisyPng(96, 64)

/** Why it was not acknowledged, null where it was; a node that dies in between leaves the sender without an answer. */
async function refusalOf(ready: Ready, key: string): Promise<string | null> {
  const { error } = await clientOf(ready).storage.from('avatars').upload(key, PICTURE, { contentType: 'image/png' })
  return error === null ? null : error.message
}
const upload = async (ready: Ready, key: string): Promise<boolean> => (await refusalOf(ready, key)) === null

/** Nothing of what was promised is missing, nothing is there that was not sent, and each run counts once. */
async function holds(node: RunningMayfly, acknowledged: readonly string[], sent: readonly string[], powerCut = false): Promise<void> {
  for (const key of acknowledged) {
    const kept = await download(node.ready, 'avatars', key)
    assert.ok(kept, `${key} was acknowledged and is gone`)
    assert.equal(sha256(kept), sha256(PICTURE), key)
  }
  // What was not acknowledged may be there or not; if it is, it is whole, and its event with it.
  for (const key of sent) {
    const kept = await download(node.ready, 'avatars', key)
    if (kept === null) continue
    assert.equal(sha256(kept), sha256(PICTURE), key)
    for (const thumbnail of await thumbnailsOf(node.ready, key)) assert.equal(thumbnail.subarray(8, 12).toString(), 'WEBP')
  }
  await nothingLeft(node.data)
  assert.deepEqual(await deadLetters(node.data), [])
  const all = await executions(node.data)
  assert.equal(new Set(all.map(({ id, attempt }) => `${id}/${attempt}`)).size, all.length, 'an execution is counted twice')
  // Every invocation came to an end that counts, and to one alone.
  const ended = Map.groupBy(
    all.filter(({ outcome }) => outcome === 'ok'),
    ({ id }) => id,
  )
  // A power cut may take the last 100 ms of what was metered: less is billed then, never more.
  for (const id of powerCut ? [] : new Set(all.map((one) => one.id))) assert.ok((ended.get(id)?.length ?? 0) >= 1, `${id} never ended`)
  const { usage } = await manage<{ usage: { functionName: string; executions: number }[] }>(node.data, '/api/v1/projects/demo/usage?days=2')
  assert.equal(
    usage.filter((row) => row.functionName === 'resize').reduce((sum, row) => sum + row.executions, 0),
    all.filter(({ outcome }) => outcome !== 'cut').length,
  )
}

describe('the photo job over kill -9', () => {
  const folder = makeFolder()
  const data = path.join(folder, 'data')
  let node: RunningMayfly | null = null
  // Says where the node that runs is to die.
  const point = path.join(folder, 'point')
  const start = () => startMayfly(data, ['--empty', ...NO_SPARE], { MAYFLY_TEST_CRASH_AT: point })
  const acknowledged: string[] = []
  const sent: string[] = []
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })

  for (const name of POINTS) {
    it(`loses nothing when the node dies at ${name}`, async () => {
      if (node === null) {
        node = await start()
        deployPhotoApp(data)
      }
      const pid = node.pid()
      const key = `${name}.png`
      sent.push(key)
      writeFileSync(point, name)
      if (await upload(node.ready, key)) acknowledged.push(key)
      await until('the node is dead', async () => !alive(pid), 20_000)
      assert.match(node.stderr(), new RegExp(`^crash point ${name}$`, 'm'), 'it died there and not elsewhere')
      await node.ended()
      rmSync(point)
      node = await start()
      await holds(node, acknowledged, sent)
      if (name === 'afterBytesFsync') assert.equal(await download(node.ready, 'avatars', key), null, 'bytes without a row are no object')
      else assert.ok(await download(node.ready, 'avatars', key), 'what was committed is there')
    })
  }

  it('loses nothing when the node dies at ten random moments', async () => {
    for (let round = 0; round < 10; round++) {
      if (node === null) node = await start()
      const { ready } = node
      const before = acknowledged.length
      const work = (async () => {
        for (let n = 0; n < 6; n++) {
          const key = `random-${round}-${n}.png`
          sent.push(key)
          if (await upload(ready, key)) acknowledged.push(key)
        }
      })()
      // Every other life ends before anything need be done, the others in the middle of it.
      if (round % 2 === 1) await until('an upload is acknowledged', async () => acknowledged.length > before, 20_000)
      await pause(Math.random() * 600)
      await node.kill()
      await work
      node = await start()
      if (round % 5 === 4) await holds(node, acknowledged, sent)
    }
  })
})

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** To one that may have ended by itself. */
function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** A process and all that stand below it. */
function family(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return [[Number(name), Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, 'utf8'))?.[1])] as const]
      } catch {
        return []
      }
    })
  const below = (one: number): number[] => [one, ...parents.filter(([, parent]) => parent === one).flatMap(([child]) => below(child))]
  return below(pid)
}

const mountable = (() => {
  if (process.getuid?.() !== 0) return 'a file system is mounted by root'
  const trial = makeFolder()
  try {
    execFileSync('truncate', ['-s', '32M', path.join(trial, 'image')])
    execFileSync('mkfs.ext4', ['-q', '-F', path.join(trial, 'image')], { stdio: 'ignore' })
    mkdirSync(path.join(trial, 'at'))
    execFileSync('mount', ['-o', 'loop', path.join(trial, 'image'), path.join(trial, 'at')], { stdio: 'ignore' })
    execFileSync('umount', [path.join(trial, 'at')])
    return false
  } catch {
    return 'needs mkfs.ext4 and loop devices'
  } finally {
    removeFolder(trial)
  }
})()

describe('the photo job over a power cut', { skip: mountable }, () => {
  const folder = makeFolder()
  let node: RunningMayfly | null = null
  const mounts: string[] = []
  // Nothing is written back by itself for minutes: what is on the image was synced.
  const mount = (image: string, at: string) => {
    mkdirSync(at)
    execFileSync('mount', ['-o', 'loop,commit=300', image, at])
    mounts.push(at)
  }
  after(async () => {
    await node?.stop()
    for (const at of mounts.toReversed()) execFileSync('umount', ['-l', at])
    removeFolder(folder)
  })

  it('has every acknowledged upload, its event and its executions on disk: what was not synced is dropped', async () => {
    const before = path.join(folder, 'before.img')
    const cut = path.join(folder, 'cut.img')
    execFileSync('truncate', ['-s', '3G', before])
    execFileSync('mkfs.ext4', ['-q', '-F', before], { stdio: 'ignore' })
    mount(before, path.join(folder, 'first'))
    const data = path.join(folder, 'first', 'data')
    const limits = ['--empty', '--disk-reserve-mb', '64']
    // A kept cluster syncs nothing.
    node = await startMayfly(data, limits, {}, { fromNothing: true })
    deployPhotoApp(data)
    execFileSync('sync', ['-f', data])
    const sent = Array.from({ length: 8 }, (_, n) => `cut-${n}.png`)
    for (const key of sent) assert.equal(await refusalOf(node.ready, key), null, key)
    // Everything stands still, and the image is taken as the disk has it; what still lies in memory is not in it.
    const all = family(node.pid())
    for (const pid of all) signalTo(pid, 'SIGSTOP')
    try {
      execFileSync('cp', ['--sparse=always', before, cut])
    } finally {
      for (const pid of all) signalTo(pid, 'SIGKILL')
    }
    await node.ended()
    mount(cut, path.join(folder, 'second'))
    node = await startMayfly(path.join(folder, 'second', 'data'), limits)
    await holds(node, sent, sent, true)
  })
})
