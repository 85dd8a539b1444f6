import { promises as fs } from 'node:fs'
import { availableMemory, constrainedMemory } from 'node:process'
import { totalmem } from 'node:os'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import { MiB } from '../lib/bytes.ts'
import type { Problem } from './types.ts'

/** How it stands with the memory of the machine, or of the group that the node is confined to. */
export interface MachineMemory {
  readonly totalMb: number
  readonly availableMb: number
  /** Of the last ten seconds, for how much of them something waited for memory; null on a kernel that does not tell. */
  readonly stalledPercent: number | null
}

/** Asks the kernel. */
export async function readMachineMemory(): Promise<MachineMemory> {
  const [meminfo, psi] = await Promise.all(['/proc/meminfo', '/proc/pressure/memory'].map((file) => fs.readFile(file, 'utf8').catch(() => '')))
  const free = /^MemAvailable:\s+(\d+) kB/m.exec(meminfo ?? '')?.[1]
  // Each of these reads several files.
  const [limit, total] = [constrainedMemory(), totalmem()]
  const confined = limit > 0 && limit < total
  const totalMb = Math.floor((confined ? limit : total) / MiB)
  const availableMb = Math.min(
    free === undefined ? Number.POSITIVE_INFINITY : Math.floor(Number(free) / 1024),
    free === undefined || confined ? Math.floor(availableMemory() / MiB) : Number.POSITIVE_INFINITY,
  )
  const stalled = /^some avg10=([\d.]+)/m.exec(psi ?? '')?.[1]
  return { totalMb, availableMb, stalledPercent: stalled === undefined ? null : Number(stalled) }
}

/**
 * Whether the machine is short of memory: little is available, or programs wait for it while not much is. That programs
 * wait says nothing by itself: one function at its own limit makes them.
 */
export function isShort({ totalMb, availableMb, stalledPercent }: MachineMemory): boolean {
  const least = (totalMb * LIMITS.memoryReserve.value) / 100
  const stalls = stalledPercent !== null && stalledPercent >= LIMITS.memoryStall.value
  return availableMb < least || (stalls && availableMb < least * 4)
}

/** Looks at the machine now and then, and remembers what it saw. */
export class Pressure {
  readonly #read: () => Promise<MachineMemory>
  readonly #log: Log
  #seen: MachineMemory | null = null
  #isLooking = false

  constructor(read: () => Promise<MachineMemory>, log: Log) {
    this.#read = read
    this.#log = log
  }

  get isShort(): boolean {
    return this.#seen !== null && isShort(this.#seen)
  }

  /** What was seen last; null before the first look. */
  get seen(): MachineMemory | null {
    return this.#seen
  }

  /** @returns whether it is short; null when another look is under way */
  async look(): Promise<boolean | null> {
    if (this.#isLooking) return null
    this.#isLooking = true
    try {
      const before = this.isShort
      this.#seen = await this.#read()
      if (this.isShort !== before) {
        const fields = { ...this.#seen }
        if (before) this.#log.info(fields, 'the machine has memory to spare again')
        else this.#log.warn(fields, 'the machine is short of memory: idle sandboxes end, the oldest first')
      }
      return this.isShort
    } catch {
      return null
    } finally {
      this.#isLooking = false
    }
  }

  problems(): Problem[] {
    const seen = this.#seen
    if (!seen || !isShort(seen)) return []
    const stalls = seen.stalledPercent === null ? '' : `, and programs waited for memory ${seen.stalledPercent} % of the last ten seconds`
    return [
      {
        what: 'memory of the machine',
        why: `${seen.availableMb} of ${seen.totalMb} MB are available${stalls}; idle sandboxes end, the oldest first`,
        todo: 'Give the machine more memory, or its sandboxes less: `--sandbox-memory-mb`.',
      },
    ]
  }
}

/** How many of so many idle sandboxes end at one look: a tenth, so that the next look can see what that gave. */
export const shareToDrop = (idle: number): number => Math.ceil(idle / 10)
