/** Of the node so much may be kept for reservations; the rest is everybody's. */
const RESERVABLE_SHARE = 0.9

/**
 * How many slots of the node are kept free for reservations: those of one project hold back its equal share at most,
 * whatever it writes down; past that a reservation is a bound, and what the node has free serves it like others.
 * @param reserved  the sum of each project that has reserved something
 * @param projects  how many have functions
 */
export function heldBack(reserved: readonly number[], projects: number, slots: number): number {
  const share = Math.floor((slots * RESERVABLE_SHARE) / Math.max(1, projects))
  return reserved.reduce((sum, own) => sum + Math.min(own, share), 0)
}
