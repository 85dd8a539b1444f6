/** How alike two names are, 0 to 1: what share of the longer one stays when letters are put, taken and changed. */
export function likeness(a: string, b: string): number {
  const longest = Math.max(a.length, b.length)
  if (longest === 0) return 1
  const left = a.toLowerCase()
  const right = b.toLowerCase()
  let line = Array.from({ length: right.length + 1 }, (_, at) => at)
  for (let i = 1; i <= left.length; i++) {
    const next = [i]
    for (let j = 1; j <= right.length; j++) {
      const change = left[i - 1] === right[j - 1] ? 0 : 1
      next.push(Math.min((next[j - 1] as number) + 1, (line[j] as number) + 1, (line[j - 1] as number) + change))
    }
    line = next
  }
  return 1 - (line[right.length] as number) / longest
}

/** A hint names only what is much like what was asked for: nobody learns names by guessing. */
const LEAST = 0.75
/** Of more a hint would cost more than it gives. */
const MOST_NAMES = 500

export function mostLike(name: string, names: Iterable<string>, least = LEAST): string | null {
  let best: string | null = null
  let score = least
  // Long names cost the square of their length.
  if (name.length > 100) return null
  const all = [...names]
  if (all.length > MOST_NAMES) return null
  for (const each of all) {
    if (each.length > 100) continue
    const found = likeness(name, each)
    if (found < score || (best !== null && found === score)) continue
    best = each
    score = found
  }
  return best
}
