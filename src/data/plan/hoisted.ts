import type { EmbedPlan, ReadPlan, SelectPlan } from './plan.ts'

/** What is counted in a level that is spread into its parent, of which it is one row, the parent counts: by key. */
export function hoistedOf({ select, embeds }: ReadPlan): ReadonlyMap<string, SelectPlan> {
  const found = new Map<string, SelectPlan>()
  for (const each of select) if (each.aggregate !== null && each.key !== null) found.set(each.key, each)
  for (const { mode, read } of embeds) if (mode === 'spread-one') for (const [key, each] of hoistedOf(read)) found.set(key, each)
  return found
}

export const hoistsAny = (embeds: readonly EmbedPlan[]): boolean => embeds.some(({ mode, read }) => mode === 'spread-one' && hoistedOf(read).size > 0)
