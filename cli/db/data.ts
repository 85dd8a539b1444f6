import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { complain, harmless, yellow } from '../output.ts'
import { DatabaseSession, type SessionAt } from './session.ts'

const OWN = `
  c.relowner = current_user::regrole and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'auth', 'storage', 'realtime', 'mayfly')
  and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype = 'e')`

const TABLES = `
  select quote_ident(n.nspname) || '.' || quote_ident(c.relname), coalesce(pg_partition_root(c.oid)::oid, c.oid)::text,
         coalesce((select '(' || string_agg(quote_ident(attname), ', ' order by attnum) || ')' from pg_attribute
                    where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = ''), '')
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.relkind = 'r' and ${OWN} order by 1`

/** Partitions are loaded with the table that they are parts of. */
const REFERENCES = `
  select distinct coalesce(pg_partition_root(conrelid)::oid, conrelid)::text, coalesce(pg_partition_root(confrelid)::oid, confrelid)::text
    from pg_constraint where contype = 'f'`

const SEQUENCES = `
  select quote_ident(n.nspname) || '.' || quote_ident(c.relname) from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
   where c.relkind = 'S' and ${OWN} order by 1`

const HEAD = `-- Rows of a project, for a database that has its tables: mayfly db psql -f <this file>
begin;
set constraints all deferred;
`

export interface DumpedTable {
  readonly name: string
  /** Of the table that it is, or is a part of. */
  readonly root: string
  readonly columns: string
}

/**
 * Tables behind those that they refer to.
 * @returns circular  names of those that refer to each other in a circle, or to one that does: they come last
 */
export function inOrder(
  tables: readonly DumpedTable[],
  references: readonly (readonly [from: string, to: string])[],
): { readonly ordered: readonly DumpedTable[]; readonly circular: readonly string[] } {
  const waiting = new Map(Map.groupBy(tables, ({ root }) => root))
  const needs = references.filter(([from, to]) => from !== to && waiting.has(to))
  const ordered: DumpedTable[] = []
  const isFree = (root: string) => !needs.some(([from, to]) => from === root && waiting.has(to))
  for (let next = [...waiting.keys()].find(isFree); next !== undefined; next = [...waiting.keys()].find(isFree)) {
    ordered.push(...(waiting.get(next) ?? []))
    waiting.delete(next)
  }
  const rest = [...waiting.values()].flat()
  return { ordered: [...ordered, ...rest], circular: rest.map(({ name }) => name) }
}

/** Writes the rows of a project's own tables, of one moment, behind the schema where that is given. */
export async function dumpRows(at: SessionAt, file: string | undefined, schema: string | null): Promise<void> {
  const out: Writable = file === undefined ? process.stdout : createWriteStream(file)
  const write = async (chunk: string) => {
    if (!out.write(chunk)) await once(out, 'drain')
  }
  await using session = await DatabaseSession.open(at, ({ message }) => complain(yellow(harmless(message ?? ''))))
  await session.ask('begin isolation level repeatable read read only')
  const tables = (await session.ask(TABLES)).map(([name, root, columns]) => ({ name: `${name}`, root: `${root}`, columns: `${columns}` }))
  const { ordered, circular } = inOrder(tables, (await session.ask(REFERENCES)) as [string, string][])
  if (circular.length > 0)
    complain(yellow(`tables that refer to each other, which loads where their foreign keys are deferrable: ${harmless(circular.join(', '))}`))
  if (schema !== null) await write(`${schema.trimEnd()}\n\n`)
  await write(HEAD)
  for (const { name, columns } of ordered) {
    await write(`\ncopy ${name} ${columns} from stdin;\n`)
    await session.run(`copy ${name} ${columns} to stdout`, null, {
      columns: () => {},
      row: () => {},
      copied: (chunk) => void out.write(chunk),
      full: () => (out.writableNeedDrain ? once(out, 'drain').then(() => {}) : null),
    })
    await write('\\.\n')
  }
  for (const [name] of await session.ask(SEQUENCES)) {
    const [[last, isCalled] = []] = await session.ask(`select last_value::text, is_called::text from ${name}`)
    await write(`\nselect pg_catalog.setval('${`${name}`.replaceAll("'", "''")}', ${last}, ${isCalled});\n`)
  }
  await write('\ncommit;\n')
  if (file === undefined) return
  out.end()
  await finished(out)
}
