import { promises as fs } from 'node:fs'
import { MiB } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import type { Ballast } from './ballast.ts'
import { MayflyError } from './errors.ts'
import { LIMITS } from './limits.ts'
import type { Log } from './log.ts'
import type { Adds } from './route.ts'

/** `low`: nothing new to keep is taken in. `full`: nothing runs either; reads and deletes are served. */
export type DiskState = 'ok' | 'low' | 'full'

export interface DiskSpace {
  readonly freeBytes: number
  readonly totalBytes: number
}
/** How much space a file system has for a user without rights: PostgreSQL is one. */
export type MeasureDisk = (folder: string) => Promise<DiskSpace>

export const measureDisk: MeasureDisk = async (folder) => {
  const space = await fs.statfs(folder)
  return { freeBytes: space.bavail * space.bsize, totalBytes: space.blocks * space.bsize }
}

/**
 * How much of a file system is kept free: the larger of 2 GiB and 5 %, as a database under load wants, but never
 * more than a tenth of it. Without the last, a volume of 10 GiB would count as low from the day it is made
 * with a fifth of it unused, and one of 2 GiB always.
 * @param wantedMb  what the operator set; 0 for the rule
 */
export function reserveBytes(totalBytes: number, wantedMb: number): number {
  if (wantedMb > 0) return wantedMb * MiB
  const byShare = (totalBytes * LIMITS.diskReserveShare.value) / 100
  return Math.floor(Math.min(Math.max(LIMITS.diskReserve.value, byShare), (totalBytes * LIMITS.diskReserveMost.value) / 100))
}

export const diskState = (freeBytes: number, reserve: number): DiskState => (freeBytes >= reserve ? 'ok' : freeBytes >= reserve / 2 ? 'low' : 'full')

/** A folder of the data directory; those on one file system count once. */
export interface DiskPlace {
  /** Told to clients instead of the path: `the data directory`. */
  readonly name: string
  readonly folder: string
}

interface Sample extends DiskSpace {
  readonly place: DiskPlace
  readonly reserve: number
  readonly state: DiskState
}

export interface DiskGuardDeps {
  readonly places: readonly DiskPlace[]
  readonly reserveMb: number
  /** Null where another process of the node keeps it. */
  readonly ballast: Ballast | null
  readonly clock: Clock
  readonly log: Log
  readonly measure?: MeasureDisk
}

const WORST: Readonly<Record<DiskState, number>> = { ok: 0, low: 1, full: 2 }
const mib = (bytes: number) => `${Math.floor(bytes / MiB)} MiB`

/** Watches the file systems of the data directory by a timer, so that a request only looks at what was seen last. */
export class DiskGuard implements AsyncDisposable {
  readonly #deps: DiskGuardDeps
  readonly #places: readonly DiskPlace[]
  #samples: readonly Sample[] = []
  #worst: Sample | null = null
  #timer: Disposable | null = null
  readonly #unread = new Set<DiskPlace>()
  #closed = false
  #ballastFailed = false

  private constructor(deps: DiskGuardDeps, places: readonly DiskPlace[]) {
    this.#deps = deps
    this.#places = places
  }

  static async open(deps: DiskGuardDeps): Promise<DiskGuard> {
    const byDevice = new Map<number, DiskPlace>()
    for (const place of deps.places) {
      const stat = await fs.stat(place.folder).catch(() => null)
      if (stat && !byDevice.has(stat.dev)) byDevice.set(stat.dev, place)
    }
    const guard = new DiskGuard(deps, [...byDevice.values()])
    await guard.#watch()
    return guard
  }

  /** The worst of the file systems. */
  get state(): DiskState {
    return this.#worst?.state ?? 'ok'
  }

  /** For `/health`: the file system that is nearest to its end. */
  describe(): { state: DiskState; freeMb: number; reserveMb: number } {
    const worst = this.#worst
    return { state: this.state, freeMb: Math.floor((worst?.freeBytes ?? 0) / MiB), reserveMb: Math.floor((worst?.reserve ?? 0) / MiB) }
  }

  /** For the metrics page: each file system once. */
  get samples(): readonly { readonly place: DiskPlace; readonly freeBytes: number; readonly totalBytes: number; readonly reserve: number }[] {
    return this.#samples
  }

  /**
   * Asked before anything of a request is kept.
   * @throws MayflyError storage_full with the numbers
   */
  admit(adds: Adds): void {
    const worst = this.#worst
    if (worst === null || worst.state === 'ok' || (worst.state === 'low' && adds === 'records')) return
    const bound = adds === 'records' ? `below ${mib(worst.reserve / 2)} nothing runs` : `below ${mib(worst.reserve)} nothing new is kept`
    throw new MayflyError('storage_full', `the file system of ${worst.place.name} has ${mib(worst.freeBytes)} free; ${bound}`)
  }

  /** Looks now. */
  async sample(): Promise<void> {
    const { measure = measureDisk, reserveMb, log } = this.#deps
    const samples: Sample[] = []
    for (const place of this.#places) {
      try {
        const space = await measure(place.folder)
        const reserve = reserveBytes(space.totalBytes, reserveMb)
        samples.push({ place, ...space, reserve, state: diskState(space.freeBytes, reserve) })
        this.#unread.delete(place)
      } catch (error) {
        // What was seen last goes on to hold.
        const last = this.#samples.find((sample) => sample.place === place)
        if (last) samples.push(last)
        if (!this.#unread.has(place)) log.warn({ folder: place.folder, error: (error as Error).message }, 'the free space of a file system cannot be read')
        this.#unread.add(place)
      }
    }
    const before = this.state
    this.#samples = samples
    this.#worst = samples.toSorted((a, b) => WORST[b.state] - WORST[a.state] || a.freeBytes / a.reserve - b.freeBytes / b.reserve)[0] ?? null
    if (this.state !== before) this.#tell()
    await this.#renewBallast()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#timer?.[Symbol.dispose]()
  }

  async #watch(): Promise<void> {
    await this.sample()
    if (!this.#closed) this.#timer = this.#deps.clock.timer(LIMITS.diskSample.value, () => void this.#watch())
  }

  #tell(): void {
    const { log } = this.#deps
    const worst = this.#worst
    const fields = { disk: this.state, folder: worst?.place.folder, freeBytes: worst?.freeBytes, reserveBytes: worst?.reserve }
    if (this.state === 'full') log.error(fields, 'a file system is full: only reads and deletes are served until there is space')
    else if (this.state === 'low') log.warn(fields, 'a file system is nearly full: deploys and uploads are refused until there is space')
    else log.info(fields, 'there is space again')
  }

  /** Made, or made again after a start used it up, when it leaves the reserve as it is. */
  async #renewBallast(): Promise<void> {
    const { ballast, log } = this.#deps
    const home = this.#samples[0]
    if (!home || !ballast || ballast.there || home.freeBytes - ballast.bytes < home.reserve) return
    try {
      await ballast.make()
    } catch (error) {
      if (!this.#ballastFailed) log.warn({ error: (error as Error).message }, 'the ballast file of the data directory could not be made')
      this.#ballastFailed = true
    }
  }
}
