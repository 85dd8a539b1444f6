import { promises as fs } from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../lib/clock.ts'
import { within } from '../../lib/within.ts'
import type { Driver } from '../types.ts'

const LIMIT_MS = 30_000

/**
 * Starts a sandbox that does nothing and waits for its word: whether a host lets one be made no file tells for sure.
 * @param folder  of the driver's own
 * @throws Error with what this host has against it
 */
export async function tryOut(driver: Driver, folder: string, clock: Clock): Promise<void> {
  const id = `s-0-${driver.name}`
  const slotDir = path.join(folder, 'trial', id)
  for (const inner of ['code', 'opt']) await fs.mkdir(path.join(slotDir, inner), { recursive: true, mode: 0o755 })
  const argv = ['-e', "require('node:fs').writeSync(3, 'here')"]
  const trial = await driver.start({ id, runtime: 'nodejs24.x', driver: null, slotDir, cache: null, tmpMb: 1, pids: 64, argv, background: false })
  const told = new Promise<boolean>((resolve) => {
    trial.control.once('data', () => resolve(true))
    trial.control.once('close', () => resolve(false))
  })
  const inTime = await within(clock, LIMIT_MS, told)
  const said = trial.stderrTail().trim().slice(-500)
  await trial.kill()
  if (!inTime || !(await told)) throw new Error(said || 'a sandbox ended without a word')
}
