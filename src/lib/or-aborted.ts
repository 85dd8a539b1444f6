import type { Leaving } from './leaving.ts'

/** What `work` gives; or, when the signal fires first, its reason at once. The work itself goes on unheard. */
export async function orAborted<T>(work: Promise<T>, signal: Leaving): Promise<T> {
  const left = Promise.withResolvers<never>()
  const onAbort = () => left.reject(signal.reason)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  work.catch(() => {})
  try {
    return await Promise.race([work, left.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/**
 * The elements of `source`; or, when the signal fires first, its reason at once, even while an element is waited for.
 * The source is then left as it stands: whoever made it ends it.
 */
export async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]()
  let isOpen = true
  try {
    for (;;) {
      const next = await orAborted(iterator.next(), signal)
      if (next.done) {
        isOpen = false
        return
      }
      yield next.value
    }
  } catch (error) {
    isOpen = false
    throw error
  } finally {
    if (isOpen) await iterator.return?.()
  }
}
