/**
 * Works on a list with a few of them under way at once, begun in their order. After one has failed none is begun, and
 * those under way are waited for.
 * @throws what the first in the list that failed threw
 */
export async function fewAtOnce<T>(list: readonly T[], most: number, work: (one: T) => Promise<void>): Promise<void> {
  const failures: { readonly at: number; readonly error: unknown }[] = []
  const waiting = list.entries()
  const worker = async () => {
    for (const [at, one] of waiting) {
      try {
        await work(one)
      } catch (error) {
        failures.push({ at, error })
      }
      if (failures.length > 0) return
    }
  }
  await Promise.all(Array.from({ length: most }, worker))
  const [first] = failures.toSorted((a, b) => a.at - b.at)
  if (first) throw first.error
}
