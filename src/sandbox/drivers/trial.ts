import { promises as fs } from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../lib/clock.ts'
import { within } from '../../lib/within.ts'
import type { Driver } from '../types.ts'
import { UID } from './inside.ts'
import { wordsOf } from './not-started.ts'
import { UID_BASE, UID_RANGE } from './oci-config.ts'

const LIMIT_MS = 30_000
export const TRIAL_PIDS = 64
/** What the kernel says of it to itself. */
const SELF = "const fs = require('node:fs'); const read = (name) => fs.readFileSync('/proc/self/' + name, 'latin1')"
const TELL = `${SELF}; fs.writeSync(3, read('status') + 'Map: ' + read('uid_map') + 'over')`

/**
 * Starts a sandbox that does nothing and waits for its word: whether a host lets one be made no file tells for sure.
 * @param folder  of the driver's own
 * @param lacking  what it lacks, by what it told and its id; asked while it stands
 * @throws Error with what this host has against it, or with what it lacks
 */
export async function tryOut(
  driver: Driver,
  folder: string,
  clock: Clock,
  lacking: (told: string, id: string) => Promise<readonly string[]> = async () => [],
): Promise<void> {
  const id = `s-0-${driver.name}`
  const slotDir = path.join(folder, 'trial', id)
  for (const inner of ['code', 'opt']) await fs.mkdir(path.join(slotDir, inner), { recursive: true, mode: 0o755 })
  const argv = ['-e', `${TELL}; setInterval(() => {}, 60_000)`]
  const trial = await driver.start({ id, runtime: 'nodejs24.x', driver: null, slotDir, cache: null, tmpMb: 1, pids: TRIAL_PIDS, argv, background: false })
  let told = ''
  const over = new Promise<void>((resolve) => {
    trial.control.on('data', (bytes: Buffer) => {
      told += bytes.toString('latin1')
      if (told.endsWith('over')) resolve()
    })
    trial.control.once('close', () => resolve())
  })
  try {
    const inTime = await within(clock, LIMIT_MS, over)
    if (!inTime || !told.endsWith('over')) throw new Error(wordsOf(trial.stderrTail()) || 'a sandbox ended without a word')
    const lacks = await lacking(told, id)
    if (lacks.length > 0) throw new Error(`a sandbox has not ${lacks.join(', ')}`)
  } finally {
    await trial.kill()
  }
}

/** What a process lacks of what every sandbox has that shares the host's kernel, by what that says of it. */
export function lackingInside(told: string): string[] {
  const said = (name: string) => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(told)?.[1]?.trim().split(/\s+/) ?? []
  const lacking: string[] = []
  const wants = (what: string, holds: boolean) => void (holds || lacking.push(what))
  wants('our list of system calls', said('Seccomp')[0] === '2')
  wants('no_new_privs', said('NoNewPrivs')[0] === '1')
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) wants(`an empty ${set}`, /^0+$/.test(said(set)[0] ?? ''))
  wants('the user inside', said('Uid').length === 4 && said('Uid').every((id) => Number(id) === UID))
  const [inside, outside, size] = said('Map').map(Number)
  wants('user ids of its own', inside === 0 && (outside ?? 0) >= UID_BASE && size === UID_RANGE)
  return lacking
}
