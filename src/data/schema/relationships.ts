import type { ColumnPairs, Relation, Relationship } from './snapshot.ts'
import { nameOf, qualified } from './snapshot.ts'
import type { ForeignKeyRow, RelationRow, SchemaRow } from './store.ts'
import { isView, type Origin, originOf } from './view-columns.ts'

/** A relation that shows columns of a table: the table itself, or a view. Numbers of the table's columns, names of its own. */
interface Shows {
  readonly row: RelationRow
  readonly nameOf: ReadonlyMap<number, string>
}

/** All that follow from foreign keys: in both directions, of views too, and through junctions. */
export function foundRelationships(
  schema: SchemaRow,
  byOid: ReadonlyMap<string, RelationRow>,
  origins: ReadonlyMap<string, ReadonlyMap<number, Origin>>,
  relations: ReadonlyMap<string, Relation>,
  exposed: readonly string[],
): Relationship[] {
  const shows = showing(schema.relations, byOid, origins)
  const forward = schema.foreignKeys.flatMap((key) => ofKey(key, shows, byOid))
  const both = forward.flatMap((relationship) => [relationship, inverse(relationship, byName(byOid).get(nameOf(relationship.from)))])
  return [...both, ...throughJunctions(forward, relations, exposed)]
}

const byName = (byOid: ReadonlyMap<string, RelationRow>) => new Map([...byOid.values()].map((row) => [nameOf(row), row]))

/** By table: what shows columns of it. */
function showing(
  rows: readonly RelationRow[],
  byOid: ReadonlyMap<string, RelationRow>,
  origins: ReadonlyMap<string, ReadonlyMap<number, Origin>>,
): ReadonlyMap<string, readonly Shows[]> {
  const found = new Map<string, Shows[]>()
  const add = (table: string, shows: Shows) => void found.set(table, [...(found.get(table) ?? []), shows])
  for (const row of rows) {
    if (row.isPartition) continue
    if (!isView(row.kind)) {
      add(row.oid, { row, nameOf: new Map(row.columns.map(({ number, name }) => [number, name])) })
      continue
    }
    const tables = new Map<string, Map<number, string>>()
    for (const { number, name } of row.columns) {
      const origin = originOf(row.oid, number, byOid, origins)
      if (!origin) continue
      const of = tables.get(origin.relation) ?? new Map<number, string>()
      tables.set(origin.relation, of)
      if (!of.has(origin.column)) of.set(origin.column, name)
    }
    for (const [table, nameOfNumber] of tables) add(table, { row, nameOf: nameOfNumber })
  }
  return found
}

function ofKey(key: ForeignKeyRow, shows: ReadonlyMap<string, readonly Shows[]>, byOid: ReadonlyMap<string, RelationRow>): Relationship[] {
  const whole = (table: string, columns: readonly number[]) =>
    (shows.get(table) ?? []).filter(({ nameOf: names }) => columns.every((column) => names.has(column)))
  const wanted = [...key.fromColumns].toSorted((a, b) => a - b).join()
  const isUnique = byOid.get(key.from)?.unique.some(({ columns }) => [...columns].toSorted((a, b) => a - b).join() === wanted) ?? false
  return whole(key.from, key.fromColumns).flatMap((from) =>
    whole(key.to, key.toColumns).map(
      (to): Relationship => ({
        cardinality: isUnique ? 'one-to-one' : 'many-to-one',
        from: qualified(from.row),
        to: qualified(to.row),
        isToOne: true,
        isSelf: from.row.oid === to.row.oid,
        toIsView: isView(to.row.kind),
        constraint: key.name,
        columns: key.fromColumns.map((column, place) => [from.nameOf.get(column) as string, to.nameOf.get(key.toColumns[place] as number) as string]),
        junction: null,
        routine: null,
      }),
    ),
  )
}

const turned = (columns: ColumnPairs): ColumnPairs => columns.map(([a, b]) => [b, a])

function inverse(relationship: Relationship, from: RelationRow | undefined): Relationship {
  const isOne = relationship.cardinality === 'one-to-one'
  return {
    ...relationship,
    cardinality: isOne ? 'one-to-one' : 'one-to-many',
    isToOne: isOne,
    from: relationship.to,
    to: relationship.from,
    toIsView: from !== undefined && isView(from.kind),
    columns: turned(relationship.columns),
  }
}

/** Two keys of one relation whose columns are all in its own key tie what they lead to. */
function throughJunctions(forward: readonly Relationship[], relations: ReadonlyMap<string, Relation>, exposed: readonly string[]): Relationship[] {
  const byJunction = new Map<string, Relationship[]>()
  for (const relationship of forward) {
    if (relationship.cardinality !== 'many-to-one' || !exposed.includes(relationship.from.schema)) continue
    const name = nameOf(relationship.from)
    byJunction.set(name, [...(byJunction.get(name) ?? []), relationship])
  }
  return [...byJunction].flatMap(([name, keys]) => {
    const junction = relations.get(name)
    if (!junction) return []
    const isWithin = (key: Relationship) => key.columns.every(([column]) => junction.primaryKey.includes(column))
    const whole = keys.filter(isWithin)
    return whole.flatMap((first) =>
      whole
        .filter((second) => second !== first && second.constraint !== first.constraint)
        .map(
          (second): Relationship => ({
            cardinality: 'many-to-many',
            from: first.to,
            to: second.to,
            isToOne: false,
            isSelf: nameOf(first.to) === nameOf(second.to),
            toIsView: second.toIsView,
            constraint: null,
            columns: [],
            junction: {
              schema: junction.schema,
              name: junction.name,
              constraints: [first.constraint as string, second.constraint as string],
              fromColumns: turned(first.columns),
              toColumns: second.columns,
            },
            routine: null,
          }),
        ),
    )
  })
}
