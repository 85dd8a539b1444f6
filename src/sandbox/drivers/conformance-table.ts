import { once } from 'node:events'
import { existsSync, promises as fs } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { silentLog } from '../../core/log.ts'
import { detectHierarchies } from '../../lib/cgroup.ts'
import { systemClock } from '../../lib/clock.ts'
import { findGuests } from '../guests.ts'
import type { Driver, SandboxProcess, StartOptions } from '../types.ts'
import { BwrapDriver } from './bwrap.ts'
import { detectDriver, isDriver } from './detect.ts'
import type { DriverOptions } from './driver-options.ts'
import { ownLimits } from './own-limits.ts'

export type Variant = 'runc' | 'crun' | 'gvisor' | 'bwrap' | 'bwrap without control groups'

const isRoot = process.getuid?.() === 0
const has = (program: string) => ['/usr/bin', '/usr/sbin'].some((folder) => existsSync(path.join(folder, program)))

/** Why a variant cannot be looked at here; false when it can. */
export const SKIPS: Readonly<Record<Variant, string | false>> = {
  runc: !isRoot ? 'needs root' : has('runc') ? false : 'needs the package runc',
  crun: !isRoot ? 'needs root' : has('crun') ? false : 'needs the package crun',
  gvisor: !isRoot ? 'needs root' : has('runsc') ? false : 'needs the package runsc',
  bwrap: has('bwrap') ? false : 'needs the package bubblewrap',
  'bwrap without control groups': has('bwrap') ? false : 'needs the package bubblewrap',
}

/** @param name  of the node, so that what several leave is told apart */
export async function openVariant(variant: Variant, name: string, runBase = isRoot ? '/run' : '/tmp'): Promise<Driver> {
  const options: DriverOptions = {
    runBase,
    name,
    guests: await findGuests(path.resolve(import.meta.dirname, '../../..')),
    runtimesPath: path.resolve(import.meta.dirname, '../../../runtimes'),
    dns: [],
    // So that most of them are started as those of a busy node are.
    launcher: { byItself: 2 },
    clock: systemClock,
    log: silentLog,
  }
  // As an ordinary user has it whose service manager gives nothing.
  if (variant === 'bwrap without control groups') return await BwrapDriver.open(options, { groups: null, countsProcesses: true, own: await ownLimits() })
  const found = await detectDriver(variant, options)
  if (!isDriver(found)) throw new Error(`${found.why}. ${found.todo}`)
  return found
}

/** Every folder of a control group whose name begins so. */
export async function groupsOf(name: string): Promise<string[]> {
  const found: string[] = []
  for (const tree of (await detectHierarchies()).all) {
    const parent = path.join(tree, `mayfly-${name}`)
    for (const id of await fs.readdir(parent).catch(() => [])) if (id.startsWith('s-')) found.push(path.join(parent, id))
  }
  return found
}

/** What stands in the command line of every process that was started with these slots. */
export const markerOf = (slots: string): string => `marker-${path.basename(path.dirname(slots))}`

/** A folder of slots, below one that no other user enters, as it is in a data directory. */
export async function makeSlots(): Promise<string> {
  const slots = path.join(await fs.mkdtemp(path.join(tmpdir(), 'mayfly-slots-')), 'slots')
  await fs.mkdir(slots)
  return slots
}

/** The suite's own guest in a sandbox, spoken to in lines of JSON. */
export class Told {
  readonly sandbox: SandboxProcess
  #text = ''
  readonly #answers: string[] = []

  constructor(sandbox: SandboxProcess) {
    this.sandbox = sandbox
    sandbox.control.on('data', (bytes: Buffer) => {
      this.#text += bytes.toString()
      const lines = this.#text.split('\n')
      this.#text = lines.pop() as string
      this.#answers.push(...lines)
      sandbox.control.emit('answered')
    })
    sandbox.control.once('close', () => sandbox.control.emit('answered'))
  }

  /** @param slots  the folder of slots */
  static async start(driver: Driver, slots: string, id: string, changes: Partial<StartOptions> = {}): Promise<Told> {
    return await Told.greet(await Told.make(driver, slots, id, changes))
  }

  /** Only its sandbox, which is not spoken to yet. */
  static async make(driver: Driver, slots: string, id: string, changes: Partial<StartOptions> = {}): Promise<SandboxProcess> {
    const slotDir = path.join(slots, id)
    for (const inner of ['code', 'opt']) await fs.mkdir(path.join(slotDir, inner), { recursive: true })
    await fs.copyFile(path.join(import.meta.dirname, 'conformance-guest.mjs'), path.join(slotDir, 'code', 'guest.mjs'))
    return await driver.start({
      id,
      runtime: 'nodejs24.x',
      driver: null,
      slotDir,
      cache: null,
      tmpMb: 1,
      pids: 64,
      background: false,
      argv: ['/var/task/guest.mjs', markerOf(slots)],
      ...changes,
    })
  }

  static async greet(sandbox: SandboxProcess): Promise<Told> {
    const told = new Told(sandbox)
    await told.ask('hello')
    return told
  }

  /** @throws Error when it ends instead of answering */
  async ask<T>(what: string, more: Readonly<Record<string, unknown>> = {}): Promise<T> {
    this.tell(what, more)
    return await this.answer<T>()
  }

  tell(what: string, more: Readonly<Record<string, unknown>> = {}): void {
    this.sandbox.control.write(`${JSON.stringify({ what, ...more })}\n`)
  }

  async answer<T>(): Promise<T> {
    while (this.#answers.length === 0) {
      if (this.sandbox.control.destroyed) throw new Error(`the sandbox ended: ${this.sandbox.stderrTail()}`)
      await once(this.sandbox.control, 'answered')
    }
    return (JSON.parse(this.#answers.shift() as string) as { answer: T }).answer
  }

  get answered(): boolean {
    return this.#answers.length > 0
  }
}
