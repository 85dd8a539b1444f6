import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { silentLog } from '../../core/log.ts'
import { detectHierarchies } from '../../lib/cgroup.ts'
import { systemClock } from '../../lib/clock.ts'
import { hasNetworks, Networks } from '../egress/networks.ts'
import { refusalOf } from '../pool-fixture.ts'
import { removeLeftBehind, sandboxFolder } from './left-behind.ts'

const refusal = process.getuid?.() === 0 ? await refusalOf('runc') : 'it takes root'
const { all: trees } = await detectHierarchies()
const networkOf = (name: string) => createHash('sha256').update(name).digest('hex').slice(0, 12)
const tables = () => execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' })
const optionsOf = (name: string) => ({ runBase: '/run', name, dns: [], clock: systemClock, log: silentLog })

/** What of a node there is on this machine. */
function thingsOf(name: string): string[] {
  const tag = networkOf(name)
  return [
    ...(existsSync(sandboxFolder('/run', name)) ? ['folder'] : []),
    ...(trees.some((tree) => existsSync(path.join(tree, `mayfly-${name}`))) ? ['groups'] : []),
    ...(existsSync(`/run/mayfly-net-${tag}`) ? ['folder of networks'] : []),
    ...(readdirSync('/run/netns').some((one) => one.startsWith(`mayfly-${tag}`)) ? ['namespaces'] : []),
    ...(existsSync(`/proc/sys/net/ipv4/conf/mf-${tag}`) ? ['link'] : []),
    ...(tables().includes(`mayfly_${tag}`) ? ['table'] : []),
  ]
}

/** Opens a driver with a sandbox, says so, and goes on. */
const HOLDING = `import { silentLog } from '../../core/log.ts'
  import { systemClock } from '../../lib/clock.ts'
  import { findGuests } from '../guests.ts'
  import { mkdirSync } from 'node:fs'
  import path from 'node:path'
  import { detectDriver } from './detect.ts'
  const [name, slotDir] = process.argv.slice(1)
  const root = path.resolve('../../..')
  const driver = await detectDriver('runc', { runBase: '/run', name, guests: await findGuests(root), runtimesPath: path.join(root, 'runtimes'), dns: [], clock: systemClock, log: silentLog })
  for (const one of ['code', 'opt']) mkdirSync(path.join(slotDir, one), { recursive: true })
  await driver.start({ id: 's-1', runtime: 'nodejs24.x', driver: null, slotDir, cache: null, tmpMb: 1, pids: 64, argv: ['-e', 'setInterval(() => {}, 1000)'], background: false })
  process.stdout.write('there')
  setInterval(() => {}, 1000)`

test('what a killed node leaves of groups, networks and folders the next start of another removes, and nothing of one that lives', {
  skip: refusal ?? false,
  timeout: 100_000,
}, async () => {
  const names = [`leftdead${process.pid}`, `leftlive${process.pid}`] as const
  const folder = mkdtempSync(path.join(tmpdir(), 'left-'))
  const open = (name: string) =>
    spawn(process.execPath, ['--input-type=module', '-e', HOLDING, name, path.join(folder, name)], {
      cwd: import.meta.dirname,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  const [dead, live] = names.map(open) as [ReturnType<typeof open>, ReturnType<typeof open>]
  const own = `leftnext${process.pid}`
  try {
    await Promise.all([once(dead.stdout, 'data'), once(live.stdout, 'data')])
    const whole = ['folder', 'groups', 'folder of networks', 'namespaces', 'link', 'table']
    assert.deepEqual(names.map(thingsOf), [whole, whole])
    // A container that went took the link with it, and nothing else.
    const lost = networkOf(own).split('').toReversed().join('')
    execFileSync('nft', ['add', 'table', 'ip', `mayfly_${lost}`])
    execFileSync('nft', ['add', 'chain', 'ip', `mayfly_${lost}`, 'forward', '{ type filter hook forward priority 0; }'])
    dead.kill('SIGKILL')
    await once(dead, 'exit')
    await removeLeftBehind('/run', systemClock)
    const networks = await Networks.open(optionsOf(own))
    assert.ok(hasNetworks(networks), JSON.stringify(networks))
    // Behind its start; and another that starts on this machine may be about it.
    for (let tries = 0; tries < 200 && (thingsOf(names[0]).length > 0 || tables().includes(lost)); tries++) await systemClock.sleep(100)
    await networks[Symbol.asyncDispose]()
    assert.deepEqual([thingsOf(names[0]), thingsOf(names[1]), thingsOf(own), tables().includes(lost)], [[], whole, [], false])
  } finally {
    for (const child of [dead, live]) child.kill('SIGKILL')
    if (live.exitCode === null && live.signalCode === null) await once(live, 'exit')
    await removeLeftBehind('/run', systemClock)
    const networks = await Networks.open(optionsOf(own))
    for (let tries = 0; tries < 200 && names.some((name) => thingsOf(name).length > 0); tries++) await systemClock.sleep(100)
    if (hasNetworks(networks)) await networks[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  }
  assert.deepEqual(names.map(thingsOf), [[], []])
})
