import type { LogLine } from './client.ts'

/** So long a line waits for those of calls beside its own, which are told call by call. */
const HELD_MS = 50
const MOST_HELD = 1_000

const timeOf = ({ at }: LogLine) => Date.parse(at)

/** As they were written, whichever call wrote them. */
export const byTime = (lines: readonly LogLine[]): LogLine[] => lines.toSorted((one, other) => timeOf(one) - timeOf(other))

/** Lines as they come, those that come together in the order in which they were written. */
export async function* inOrderOfTime(lines: AsyncIterable<LogLine>, heldMs = HELD_MS): AsyncGenerator<LogLine> {
  const source = lines[Symbol.asyncIterator]()
  let held: LogLine[] = []
  let since = 0
  let next = source.next()
  try {
    for (;;) {
      const came = held.length === 0 ? await next : await within(next, since + heldMs - performance.now())
      if (came === null || came.done || held.length >= MOST_HELD) {
        yield* byTime(held)
        held = []
        if (came === null) continue
        if (came.done) return
      }
      if (held.length === 0) since = performance.now()
      held.push(came.value)
      next = source.next()
    }
  } catch (error) {
    // What came before it broke off came.
    yield* byTime(held)
    throw error
  } finally {
    next.catch(() => {})
    // It may wait for a line that never comes.
    void source.return?.().catch(() => {})
  }
}

/** Null when it takes longer. */
async function within<T>(work: Promise<T>, ms: number): Promise<T | null> {
  const late = Promise.withResolvers<null>()
  const timer = setTimeout(() => late.resolve(null), Math.max(0, ms))
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
