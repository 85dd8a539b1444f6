import { MayflyError } from '../../core/errors.ts'
import type { Driver, DriverName } from '../types.ts'
import { ProcessDriver } from './process.ts'
import { RuncDriver, type RuncOptions, runcVersion } from './runc.ts'

/** What keeps functions from running here, and what to type. */
export interface NoDriver {
  readonly why: string
  readonly todo: string
}

/** Chooses the driver once, at start. `auto` takes isolation or nothing. */
export async function detectDriver(setting: 'auto' | DriverName, options: RuncOptions): Promise<Driver | NoDriver> {
  if (setting === 'process') return new ProcessDriver(options)
  if (process.getuid?.() !== 0) {
    return {
      why: 'isolated functions are run by runc, and that takes root',
      todo: 'Start the node as root (`sudo npm start`), or, for code of your own only, without isolation: `npm start -- --sandbox process`.',
    }
  }
  if ((await runcVersion()) === null) return { why: 'runc is not installed', todo: 'Run `npm run setup`, or type `apt-get install runc`.' }
  return await RuncDriver.open(options)
}

export const isDriver = (found: Driver | NoDriver): found is Driver => 'start' in found

export const noDriver = (reason: NoDriver): MayflyError => new MayflyError('sandbox_unavailable', `Functions cannot run: ${reason.why}. ${reason.todo}`)
