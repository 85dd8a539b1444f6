import { isDeepStrictEqual } from 'node:util'
import type { DefinitionOf, EventSource } from '../event-source.ts'

type Columns = Readonly<Record<string, unknown>>

/** Rows of a table that come, change or go: a trigger on the table tells of them in their own transaction. */
export const rowSource: EventSource<'row'> = {
  kind: 'row',
  lacks: async ({ hasTable }, project, { row: { table: place } }) => {
    const [schema = '', table = ''] = place.split('.')
    return (await hasTable(project, schema, table)) ? null : `the table ${place}: make it by SQL, as \`mayfly db new\` and \`mayfly db up\` do`
  },
  subscribes: (_, { row }) => [{ source: row.table, events: row.events }],
  eventFor: ({ source, event, data }, { row }) => {
    const told = data as { readonly record: string | null; readonly old_record: string | null; readonly omitted: readonly string[] }
    const record = columnsOf(told.record)
    const before = columnsOf(told.old_record)
    const omitted = new Set(told.omitted)
    if (row.table !== source || !row.events.some((one) => one === event)) return null
    if (record && before && !changes(record, before, omitted, row.columns)) return null
    if (!fits(record ?? before ?? {}, omitted, row.when)) return null
    const [schema = '', table = ''] = source.split('.')
    return { type: event.toUpperCase(), table, schema, record, old_record: before, ...(omitted.size > 0 ? { omitted: [...omitted] } : {}) }
  },
}

/** A value that was too long to be told may be any. */
const changes = (record: Columns, before: Columns, omitted: ReadonlySet<string>, columns: readonly string[] | undefined) =>
  columns === undefined || columns.some((name) => omitted.has(name) || !isDeepStrictEqual(record[name], before[name]))

const fits = (columns: Columns, omitted: ReadonlySet<string>, when: DefinitionOf<'row'>['row']['when']) =>
  Object.entries(when ?? {}).every(([name, wanted]) => {
    if (omitted.has(name)) return true
    const value = columns[name]
    return (Array.isArray(wanted) ? wanted : [wanted]).some((one) => one === (isExact(value) ? Number(value.rawJSON) : value))
  })

interface Exact {
  readonly rawJSON: string
}
// Its types do not know yet what the language has.
const { isRawJSON, rawJSON } = JSON as unknown as { isRawJSON(value: unknown): boolean; rawJSON(text: string): Exact }
const isExact = (value: unknown): value is Exact => isRawJSON(value)

/** Numbers that are none of 53 bits stay the text that they are. */
function columnsOf(text: string | null): Columns | null {
  if (text === null) return null
  const exact = (_: string, value: unknown, { source }: { readonly source: string }) =>
    typeof value === 'number' && String(value) !== source ? rawJSON(source) : value
  return JSON.parse(text, exact as (key: string, value: unknown) => unknown) as Columns
}
