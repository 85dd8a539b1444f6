/** Ours, among what others may write there. */
const MARK = 'Lineage=1:6d617966:'
const OURS = /(?:^|;)\s*Lineage=1:6d617966:(\d{1,4})(?=;|$)/g

/*
 * How many functions stand before a message: in its trace header, as AWS keeps it there, so that functions that start
 * each other through queues are known for a loop.
 */

/** The header of a message that a function sends; what it says of its own depth is not believed. */
export function withDepth(header: string | null, depth: number): string | null {
  if (depth === 0) return header
  const rest = (header ?? '').replaceAll(OURS, '').replace(/^;/, '')
  return `${rest}${rest === '' ? '' : ';'}${MARK}${depth}`
}

/** 0 where no function stood before it. */
export const depthOf = (header: string | null): number => Math.max(0, ...[...(header ?? '').matchAll(OURS)].map(([, depth]) => Number(depth)))
