import { count, type Infer, text } from '../core/settings.ts'

export const usageSettings = {
  prices: text({
    default: null,
    takes: 'a path',
    doc: 'The price list that usage is priced by, a JSON file; without it the example list of src/usage/prices.json.',
  }),
  detailDays: count({ default: 40, min: 1, max: 3_650, of: 'days', doc: 'How long each single execution is kept; what they add up to per day stays.' }),
  totalDays: count({ default: 731, min: 1, max: 36_500, of: 'days', doc: 'How long the sums per function and day are kept.' }),
}
export type UsageConfig = Infer<typeof usageSettings>
