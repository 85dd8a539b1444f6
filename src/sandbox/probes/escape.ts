import { mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { hostname, networkInterfaces, totalmem } from 'node:os'
import path from 'node:path'
import { eventOf, never, PoolFixture, silent } from '../pool-fixture.ts'
import type { DriverName } from '../types.ts'
import { isKnown, KNOWN_OF, keyOf, PROBES, type Probe } from './catalogue.ts'

// Tries the probes: a program of its own, as user code starts programs.
const PROBE = `
const { spawnSync } = require('node:child_process')
exports.handler = async (asked) => {
  const run = spawnSync('/usr/bin/python3', [__dirname + '/inside.py'], { input: JSON.stringify(asked), encoding: 'utf8', maxBuffer: 1 << 24 })
  if (run.status !== 0) throw new Error('the probes ended with ' + (run.signal ?? run.status) + ': ' + run.stderr.slice(-2000))
  return JSON.parse(run.stdout)
}`

// What another function has lying about while it runs.
const NEIGHBOUR = `
const fs = require('node:fs')
const net = require('node:net')
let server
exports.handler = async ({ file, leave }) => {
  for (const folder of ['/tmp/', '/dev/shm/']) leave ? fs.writeFileSync(folder + file, 'x') : fs.rmSync(folder + file, { force: true })
  if (!leave) return void server?.close()
  server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  return server.address().port
}`

/** Null where this processor or driver has no such thing, or it may not be tried. */
export type Seen = { readonly open: boolean; readonly how: string } | null
export type Results = ReadonlyMap<Probe, Seen>

/** What the function that tries them has. */
export const MEMORY_MB = 256

/** Runs every probe in a sandbox of that driver, as the code of a function that a pool serves. */
export async function probe(driver: DriverName): Promise<Results> {
  await using world = new PoolFixture(driver, { probe: PROBE, neighbour: NEIGHBOUR })
  writeFileSync(path.join(world.data, 'code', 'probe', 'inside.py'), readFileSync(path.join(import.meta.dirname, 'inside.py')), { mode: 0o444 })
  await world.openFirst()
  await using host = await openHost(world.data)
  const long = { timeoutMs: 60_000, memoryMb: MEMORY_MB }
  // Let out as far as a function can be: what is private, of this host or of a neighbour stays shut.
  const spec = world.specOf('probe', { ...long, egress: { mode: 'internet' } })
  await world.pool.build(spec)
  const file = `probe-${process.pid}`
  const { value: port } = await world.call(world.specOf('neighbour', long), { file, leave: true })
  const asked = PROBES.filter(({ plain }) => driver !== 'process' || plain !== 'never')
  using lease = await world.pool.acquire(spec, silent, never)
  const code = driver === 'process' ? path.join(world.folder, 'sandboxes', 'slots', lease.sandboxId, 'code') : '/var/task'
  const facts = { ...host.facts, code, neighbour: { port, file } }
  const result = await lease.run(eventOf({ facts, probes: Object.fromEntries(asked.map((one) => [keyOf(one), one.run])) }), silent, never)
  await lease.finished
  await world.call(world.specOf('neighbour', long), { file, leave: false })
  if (result.kind === 'http' || result.kind === 'stream') throw new Error('the probes answered by a stream')
  const text = Buffer.from(result.payload).toString()
  if (result.kind === 'error') throw new Error(`the probes did not run: ${text}`)
  const answers = JSON.parse(text) as Record<string, [boolean, string] | null>
  return new Map(
    asked.map((one) => {
      const answer = answers[keyOf(one)] ?? null
      return [one, answer === null ? null : { open: answer[0], how: answer[1] }]
    }),
  )
}

/** The path of a file in its own file system, which is what a mount of it tells. */
export function placeOf(mountinfo: string, file: string): string {
  let [root, at] = ['/', '/']
  for (const line of mountinfo.split('\n')) {
    const [, , , from = '/', to = '/'] = line.split(' ')
    if (to.length >= at.length && (file === to || file.startsWith(to === '/' ? to : `${to}/`))) [root, at] = [from, to]
  }
  return path.join(root, path.relative(at, file))
}

/** What there is on this host to be reached: files, ports, addresses, and what would give it away. */
async function openHost(data: string) {
  const secret = path.join(data, 'secret')
  writeFileSync(secret, 'secret', { mode: 0o600 })
  mkdirSync(path.join(data, 'keys'), { mode: 0o700 })
  writeFileSync(path.join(data, 'instance.key'), 'secret', { mode: 0o600 })
  const abstract = `mayfly-probe-${process.pid}`
  const listen = (server: Server, where: { host: string; port: number } | { path: string }) =>
    new Promise<number>((resolve) => {
      server.once('error', () => resolve(0))
      server.listen(where, () => {
        const address = server.address()
        resolve(typeof address === 'object' && address !== null ? address.port : 0)
      })
    })
  const servers = [createServer(), createServer(), createServer(), createServer()] as const
  const [loopback, six, any, named] = servers
  const addresses = Object.values(networkInterfaces())
    .flat()
    .flatMap((one) => (one?.family === 'IPv4' && !one.internal ? [one.address] : []))
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
  const facts = {
    pid: process.pid,
    secret,
    data,
    places: { data: placeOf(mounts, data), program: placeOf(mounts, path.resolve(import.meta.dirname, '../../..')) },
    hostname: hostname(),
    boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    memory: totalmem(),
    namespaces: Object.fromEntries(['mnt', 'cgroup', 'uts', 'ipc', 'user', 'pid', 'net', 'time'].map((kind) => [kind, readlinkSync(`/proc/self/ns/${kind}`)])),
    addresses,
    port: await listen(loopback, { host: '127.0.0.1', port: 0 }),
    port6: await listen(six, { host: '::1', port: 0 }),
    anyPort: await listen(any, { host: '0.0.0.0', port: 0 }),
    abstract,
  }
  await listen(named, { path: `\0${abstract}` })
  return {
    facts,
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) server.close()
    },
  }
}

/** What is open and not known to be, and what is said to be open and is not. */
export function strange(driver: DriverName, results: Results): { readonly open: string[]; readonly shut: string[] } {
  const tell = (rows: [Probe, Seen][]) => rows.map(([one, seen]) => `${keyOf(one)} (${seen?.how})`)
  // Another kernel than the host's tells nothing of the host.
  const told = (one: Probe) => (driver === 'gvisor' ? KNOWN_OF.gvisor?.[keyOf(one)] !== undefined : isKnown(driver, one))
  return {
    open: tell([...results].filter(([one, seen]) => seen?.open && !isKnown(driver, one))),
    shut: tell([...results].filter(([one, seen]) => seen !== null && !seen.open && told(one))),
  }
}

/** Rows of a text: each probe, what is expected of it, and what each driver showed. */
export function tableOf(results: ReadonlyMap<DriverName, Results>): string {
  const drivers = [...results.keys()]
  const rows = [
    ['probe', 'expected', ...drivers],
    ...PROBES.map((one) => [
      keyOf(one),
      one.known === undefined ? 'shut' : 'open',
      ...drivers.map((name) => cell(results.get(name)?.get(one), isKnown(name, one))),
    ]),
  ]
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  return rows
    .map((row) =>
      row
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** What is open and not known to be stands in capitals. */
const cell = (seen: Seen | undefined, known: boolean): string => {
  if (seen === undefined) return 'not tried'
  if (seen === null) return 'not here'
  return `${seen.open ? (known ? 'open' : 'OPEN') : 'shut'} ${seen.how}`.slice(0, 40)
}
