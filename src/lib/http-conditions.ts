/** Both ends belong to it, as in HTTP. */
export interface ByteRange {
  readonly first: number
  readonly last: number
}

/** Does the client hold what has this tag? Weak comparison, as RFC 9110, 13.1.2 asks. */
export const isHeld = (ifNoneMatch: string, etag: string): boolean =>
  ifNoneMatch.trim() === '*' || ifNoneMatch.split(',').some((one) => one.trim().replace(/^W\//, '') === etag)

/**
 * The one range that is asked for; null for all, which is also the answer to several ranges and to what is none.
 * @param ifRange  a range is a part of what has this tag, or it is not wanted: another gets all
 * @see RFC 9110, sections 13.1.5 and 14.2
 */
export function rangeOf(
  asked: { readonly range: string | undefined; readonly ifRange: string | undefined },
  etag: string,
  bytes: number,
): ByteRange | 'outside' | null {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(asked.range?.trim() ?? '')
  if (!match || (match[1] === '' && match[2] === '')) return null
  if (asked.ifRange !== undefined && asked.ifRange !== etag) return null
  const [from, to] = [match[1] as string, match[2] as string]
  const first = from === '' ? Math.max(0, bytes - Number(to)) : Number(from)
  const last = from === '' || to === '' ? bytes - 1 : Math.min(Number(to), bytes - 1)
  return first > last ? 'outside' : { first, last }
}

/** Which of these codings a client takes best, in the order of our own liking; null for the bytes as they are. @see RFC 9110, 12.5.3 */
export function codingOf<T extends string>(acceptEncoding: string | undefined, ours: readonly T[]): T | null {
  if (acceptEncoding === undefined) return null
  const weights = new Map<string, number>()
  for (const one of acceptEncoding.slice(0, 1_000).split(',')) {
    const [, name = '', weight = '1'] = /^\s*([\w*-]+)\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?$/i.exec(one) ?? []
    if (name !== '') weights.set(name.toLowerCase(), Number(weight))
  }
  const weightOf = (name: string) => weights.get(name) ?? weights.get('*') ?? 0
  const taken = ours.filter((name) => weightOf(name) > 0).toSorted((a, b) => weightOf(b) - weightOf(a))
  return taken[0] ?? null
}
