import type { Descriptor, HowEnded, Launch } from './launched.ts'

// What `Launcher` and the process that it has start programs say to each other.

/** A line that the process reads. */
export type Told = { readonly id: number; readonly launch: Launch } | { readonly id: number; readonly kill: NodeJS.Signals }
/** A line that it writes. */
export type Tells = { readonly id: number } & ({ readonly pid: number } | { readonly error: string } | HowEnded)

/** The id of what it tells first. */
export const HELLO = 0

/** How many characters a stream begins with. */
export const NAMED_BYTES = 12
export const nameOf = (id: number, descriptor: number): string => `${id.toString(16).padStart(NAMED_BYTES - 2, '0')}${descriptor.toString(16).padStart(2, '0')}`

/**
 * Node makes each of its sockets one that does not wait, for all who have it, and has only the first three descriptors of what
 * it starts wait again. So two more come by those that are nothing, and a shell puts them where they belong.
 */
export function placed(descriptors: readonly Descriptor[]): { readonly slots: readonly (number | null)[]; readonly script: string } {
  const slots: (number | null)[] = descriptors.map((one, at) => (one === 'nothing' ? null : at))
  const moves: string[] = []
  const free = [0, 1].filter((at) => descriptors[at] === 'nothing')
  for (const [at, one] of descriptors.entries()) {
    const by = at > 2 && one === 'stream' ? free.shift() : undefined
    if (by === undefined) continue
    slots[by] = at
    slots[at] = null
    moves.push(`${at}<&${by}`, `${by}<>/dev/null`)
  }
  return { slots, script: `${moves.length > 0 ? `exec ${moves.join(' ')}; ` : ''}exec "$@"` }
}
