/** Longer ones take the engine's own search many times their length where a text repeats itself. */
const SHORT = 32

/** Where a text begins in another from a place on, or -1, as `indexOf` says; in a time that grows with both lengths added, not multiplied. */
export function finder(wanted: string): (text: string, from: number) => number {
  if (wanted.length <= SHORT) return (text, from) => text.indexOf(wanted, from)
  const back = fallbacks(wanted)
  return (text, from) => {
    let fit = 0
    for (let at = from; at < text.length; at++) {
      const char = text.charCodeAt(at)
      while (fit > 0 && wanted.charCodeAt(fit) !== char) fit = back[fit - 1] as number
      if (wanted.charCodeAt(fit) === char) fit++
      if (fit === wanted.length) return at - fit + 1
    }
    return -1
  }
}

/**
 * For each of its beginnings, how long a shorter beginning stands at its end.
 * @see Knuth, Morris, Pratt, "Fast pattern matching in strings", 1977
 */
function fallbacks(wanted: string): Uint16Array {
  const back = new Uint16Array(wanted.length)
  for (let at = 1, fit = 0; at < wanted.length; at++) {
    while (fit > 0 && wanted.charCodeAt(fit) !== wanted.charCodeAt(at)) fit = back[fit - 1] as number
    if (wanted.charCodeAt(fit) === wanted.charCodeAt(at)) fit++
    back[at] = fit
  }
  return back
}
