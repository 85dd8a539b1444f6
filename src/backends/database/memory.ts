import { promises as fs } from 'node:fs'
import { totalmem } from 'node:os'
import path from 'node:path'
import { MiB } from '../../lib/bytes.ts'
import { Cgroup, detectHierarchies, type Hierarchies, weighGroup } from '../../lib/cgroup.ts'
import type { Clock } from '../../lib/clock.ts'
import { nodeWeight } from '../../lib/own-group.ts'
import type { Gap } from './database.ts'

/** Why the memory of our servers is not bounded by the kernel; sentences for the operator. */
export type Unbounded = Omit<Gap, 'what'>

/** The same as everything is told that falls away. */
export const missingOf = (unbounded: Unbounded | null): readonly Gap[] => (unbounded === null ? [] : [{ what: 'database-memory', ...unbounded }])

/** Can this process bound its servers' memory here? Null when it can. */
export async function memoryUnbounded(hierarchies?: Hierarchies): Promise<Unbounded | null> {
  if (process.getuid?.() !== 0)
    return {
      why: 'control groups are made by root alone, so that the memory of PostgreSQL is not bounded',
      todo: 'Start the node as root, or bound its whole service.',
    }
  if ((hierarchies ?? (await detectHierarchies())).memory === null)
    return { why: 'this host has no cgroup controller for memory', todo: 'Enable it in the kernel command line or in the cgroup v2 root.' }
  return null
}

/**
 * How much memory one server may have, in MB.
 * @param wantedMb  what the operator set; 0 for a quarter of the machine, which leaves the rest to sandboxes, and at
 * least 512, below which a server with its connections gets no work done
 */
export const serverMemoryMb = (wantedMb: number): number => (wantedMb > 0 ? wantedMb : Math.max(512, Math.floor(totalmem() / 4 / MiB)))

/** A memory control group for each embedded server: what users' SQL takes is taken from no other server and not from the node. */
export class ServerMemory implements AsyncDisposable {
  /** MB a server; null where nothing is held. */
  readonly heldMb: number | null
  readonly unbounded: Unbounded | null
  readonly #hierarchies: Hierarchies
  readonly #name: string
  readonly #clock: Clock

  private constructor(hierarchies: Hierarchies, name: string, heldMb: number, unbounded: Unbounded | null, clock: Clock) {
    this.#hierarchies = hierarchies
    this.#name = name
    this.heldMb = unbounded === null ? heldMb : null
    this.unbounded = unbounded
    this.#clock = clock
  }

  /** @param name  of the group that the servers' groups lie in */
  static async open(name: string, wantedMb: number, clock: Clock, given?: Hierarchies): Promise<ServerMemory> {
    const hierarchies = given ?? (await detectHierarchies())
    let unbounded = await memoryUnbounded(hierarchies)
    if (unbounded === null) {
      try {
        Cgroup.makeMemory(hierarchies, name)
        // Of the second version one tree holds all: here servers are outside of the node's own group, and go before sandboxes like it.
        if (hierarchies.cpu?.version === 2) await weighGroup(hierarchies, name, nodeWeight())
      } catch (error) {
        unbounded = {
          why: `a control group for PostgreSQL could not be made: ${(error as Error).message}`,
          todo: 'Let the node delegate the memory controller: see the cgroup setup of its service.',
        }
      }
    }
    return new ServerMemory(hierarchies, name, serverMemoryMb(wantedMb), unbounded, clock)
  }

  /**
   * Makes the group of a place with its limit; nothing of a former life is left in it.
   * @returns the file that takes the pid of who enters; null where nothing is held
   */
  async enter(place: string): Promise<string | null> {
    if (this.heldMb === null) return null
    await this.leave(place)
    const procs = Cgroup.makeMemory(this.#hierarchies, `${this.#name}/${place}`)
    this.#group(place).limitMemory(this.heldMb)
    return procs
  }

  /** Was something of this place ended for want of memory? */
  async outOfMemory(place: string): Promise<boolean> {
    return this.heldMb !== null && (await this.#group(place).outOfMemory())
  }

  /** Removes the group of a place whose server has ended. */
  async leave(place: string): Promise<void> {
    if (this.heldMb !== null) await this.#group(place).destroy(this.#clock)
  }

  /** Removes what the servers' groups lay in. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.heldMb === null) return
    const at = path.join(this.#hierarchies.memory?.path ?? '', this.#name)
    for (const entry of await fs.readdir(at, { withFileTypes: true })) if (entry.isDirectory()) await this.leave(entry.name)
    await fs.rmdir(at)
  }

  #group(place: string): Cgroup {
    return new Cgroup(this.#hierarchies, `${this.#name}/${place}`)
  }
}
