import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import sharp from 'sharp'
import { mayfly, ROOT, type RunningMayfly, startMayfly } from '../test/acceptance/harness.ts'
import { pause, show, timed } from './measure.ts'

// The photo job beside the same resize calls without Mayfly, on the same machine in the same minute; prints ratios.
// Usage: npm run bench:photo

const WIDTHS = [64, 256, 1024]
/** Who looks more often takes a processor from what is measured. */
const LOOK_MS = 10
const PHOTO = path.join(ROOT, 'examples', 'photos', 'deep-field.jpg')
const picture = readFileSync(PHOTO)
const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
const data = path.join(folder, 'data')
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)

const resizeAll = (bytes: Buffer) => Promise.all(WIDTHS.map((width) => sharp(bytes).rotate().resize({ width, withoutEnlargement: true }).webp().toBuffer()))
/** What a script does that is started for one picture. */
const script = `import sharp from 'sharp'
import { readFileSync } from 'node:fs'
sharp.concurrency(1)
const bytes = readFileSync(${JSON.stringify(PHOTO)})
await Promise.all([64, 256, 1024].map((width) => sharp(bytes).rotate().resize({ width, withoutEnlargement: true }).webp().toBuffer()))`
const wholeScript = () => void execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: ROOT })

let node: RunningMayfly
const object = (bucket: string, key: string) => `${node.ready.project.url}/storage/v1/object/${bucket}/${key}`
async function upload(key: string): Promise<void> {
  const response = await fetch(object('avatars', key), {
    method: 'POST',
    headers: { apikey: node.ready.project.publishableKey, 'content-type': 'image/jpeg' },
    body: new Uint8Array(picture),
  })
  if (!response.ok) throw new Error(`${key}: ${response.status} ${await response.text()}`)
  await response.arrayBuffer()
}
/** Until the last of a picture's thumbnails can be read. */
async function readable(key: string, everyMs: number): Promise<void> {
  for (;;) {
    const response = await fetch(object('public/thumbnails', `${key.replace(/\.jpg$/, '')}/1024.webp`), { method: 'HEAD' })
    if (response.ok) return
    await pause(everyMs)
  }
}
const deploy = (...more: string[]) => {
  const { code, stderr } = mayfly(['deploy', path.join(ROOT, 'examples', 'photo-app'), '--data', data, ...more])
  if (code !== 0) throw new Error(stderr)
}

async function warm(): Promise<void> {
  await upload('first.jpg')
  await readable('first.jpg', LOOK_MS)
  sharp.concurrency(1)
  const bare: number[] = []
  const ours: number[] = []
  for (let n = 0; n < 30; n++) {
    bare.push(await timed(() => resizeAll(picture)))
    const key = `warm-${n}.jpg`
    await upload(key)
    ours.push(await timed(() => readable(key, LOOK_MS)))
    await pause(100)
  }
  const base = show('the same resize calls in a running script', bare)
  const job = show('upload answered → thumbnails readable, warm', ours)
  process.stdout.write(`→ warm ÷ script: p50 ${(job.p50 / base.p50).toFixed(2)}, p99 ${(job.p99 / base.p99).toFixed(2)}  (aim 2.5)\n`)
}

async function cold(): Promise<void> {
  const bare: number[] = []
  const ours: number[] = []
  for (let n = 0; n < 8; n++) {
    await node.stop()
    node = await startMayfly(data)
    await pause(2000)
    bare.push(await timed(wholeScript))
    const key = `cold-${n}.jpg`
    await upload(key)
    ours.push(await timed(() => readable(key, LOOK_MS)))
  }
  const base = show('the whole script from its start', bare)
  const job = show('upload answered → thumbnails readable, cold', ours)
  process.stdout.write(`→ cold ÷ script: p50 ${(job.p50 / base.p50).toFixed(2)}, p99 ${(job.p99 / base.p99).toFixed(2)}  (aim 1)\n`)
}

async function many(): Promise<void> {
  const count = 200
  const bareRates: number[] = []
  const rates: number[] = []
  for (let pass = 0; pass < 3; pass++) {
    sharp.concurrency(1)
    const bareMs = await timed(async () => {
      let next = 0
      const work = async () => {
        while (next++ < count) await resizeAll(picture)
      }
      await Promise.all(Array.from({ length: cpus().length }, work))
    })
    const keys = Array.from({ length: count }, (_, n) => `many-${pass}-${n}.jpg`)
    const oursMs = await timed(async () => {
      await Promise.all(keys.map(upload))
      for (const key of keys) await readable(key, 20)
    })
    bareRates.push((count / bareMs) * 1000)
    rates.push((count / oursMs) * 1000)
    process.stdout.write(
      `${count} uploads at once: ${(rates.at(-1) as number).toFixed(1)}/s, bare sharp on all cores ${(bareRates.at(-1) as number).toFixed(1)}/s, ratio ${((rates.at(-1) as number) / (bareRates.at(-1) as number)).toFixed(2)}  (aim 0.6)\n`,
    )
  }
}

/** Of the node, of its PostgreSQL servers and of what waits in the pool. */
function familyMb(): { node: number; all: number } {
  const stat = (pid: string) => readFileSync(`/proc/${pid}/stat`, 'utf8')
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [[Number(pid), Number(/\) \S (\d+)/.exec(stat(pid))?.[1])] as const]
      } catch {
        return []
      }
    })
  const pss = (pid: number) => {
    try {
      return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) / 1024
    } catch {
      return 0
    }
  }
  const below = (pid: number): number[] => [pid, ...parents.filter(([, parent]) => parent === pid).flatMap(([child]) => below(child))]
  // Sandboxes are detached from runc: they belong to init, and are known by the control group of their node.
  const { instanceId } = JSON.parse(readFileSync(path.join(data, 'instance.json'), 'utf8')) as { instanceId: string }
  const own = `/mayfly-${instanceId.replaceAll('-', '').slice(-12)}`
  const guests = parents
    .map(([pid]) => pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(own)
      } catch {
        return false
      }
    })
  const all = new Set([...below(node.pid()), ...guests])
  return { node: pss(node.pid()), all: [...all].reduce((sum, pid) => sum + pss(pid), 0) }
}

async function start(): Promise<void> {
  const times: number[] = []
  for (let n = 0; n < 5; n++) {
    await node.stop()
    times.push(
      await timed(async () => {
        node = await startMayfly(data)
      }),
    )
  }
  show('start on a directory with the photo app', times)
  await pause(20_000)
  const memory = familyMb()
  process.stdout.write(`idle: the node ${memory.node.toFixed(0)} MB PSS, with PostgreSQL and pool ${memory.all.toFixed(0)} MB  (aims 1500 ms, 200 MB)\n`)
}

try {
  node = await startMayfly(data)
  deploy()
  await warm()
  await cold()
  await many()
  await start()
  await node.stop()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
