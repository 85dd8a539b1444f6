import { DataError } from '../errors.ts'
import type { SelectedEmbed } from '../request/grammar.ts'
import { nameOf, type Qualified, type Relationship, type Snapshot } from '../schema/snapshot.ts'
import { mostLike } from './hints.ts'

/**
 * The one relationship that an embed means.
 * @param origin  the relation it starts from
 * @throws DataError PGRST200 when there is none, PGRST201 when there are several
 */
export function resolveRelationship(snapshot: Snapshot, origin: Qualified, { name, hint }: Pick<SelectedEmbed, 'name' | 'hint'>): Relationship {
  const all = (snapshot.relationships.get(nameOf(origin)) ?? []).filter(
    ({ to, routine }) => to.schema === origin.schema && (routine === null || snapshot.settings.schemas.includes(routine.schema)),
  )
  const computed = all.find(({ routine }) => routine !== null && routine.name === name)
  if (computed) return computed
  const detected = all.filter(({ cardinality }) => cardinality !== 'computed')
  const found = detected.filter((relationship) => (hint === null ? isMeant(relationship, name) : relationship.to.name === name && isHinted(relationship, hint)))
  const [first, ...others] = found
  if (!first) throw none(snapshot, origin, name, hint, detected)
  if (others.length > 0) throw several(origin, name, found)
  return first
}

const singleColumn = ({ columns }: Relationship): readonly [string, string] | null => (columns.length === 1 ? (columns[0] ?? null) : null)

function isMeant(relationship: Relationship, name: string): boolean {
  const { cardinality, to, toIsView, isSelf, constraint, isToOne } = relationship
  // Of a relation to itself its name means those that refer to it.
  if (to.name === name && !(isSelf && cardinality === 'many-to-one')) return true
  if (toIsView) return false
  return constraint === name || (isToOne && singleColumn(relationship)?.[0] === name)
}

function isHinted(relationship: Relationship, hint: string): boolean {
  const pair = singleColumn(relationship)
  // Of a relation to itself one key has two directions: hinted at are those that refer to it; what it refers to, its column names.
  if (relationship.isSelf && relationship.cardinality === 'many-to-one') return false
  if (relationship.isSelf && relationship.cardinality === 'one-to-many') return pair?.[1] === hint || relationship.constraint === hint
  return relationship.constraint === hint || pair?.[0] === hint || pair?.[1] === hint || relationship.junction?.name === hint
}

function none(snapshot: Snapshot, origin: Qualified, name: string, hint: string | null, detected: readonly Relationship[]): DataError {
  const using = hint === null ? '' : `using the hint '${hint}' `
  return new DataError('PGRST200', `Could not find a relationship between '${origin.name}' and '${name}' in the schema cache`, {
    details: `Searched for a foreign key relationship between '${origin.name}' and '${name}' ${using}in the schema '${origin.schema}', but no matches were found.`,
    hint: hintOf(snapshot, origin, name, detected),
  })
}

function hintOf(snapshot: Snapshot, origin: Qualified, name: string, detected: readonly Relationship[]): string | null {
  if (snapshot.relationships.has(nameOf(origin))) {
    const near = mostLike(name, new Set(detected.map(({ to }) => to.name)))
    return near !== null && near !== name ? `Perhaps you meant '${near}' instead of '${name}'.` : null
  }
  return null
}

function several(origin: Qualified, name: string, found: readonly Relationship[]): DataError {
  const hints = found.map(({ to, constraint, junction }) => `'${to.name}!${junction?.name ?? constraint}'`).join(', ')
  return new DataError('PGRST201', `Could not embed because more than one relationship was found for '${origin.name}' and '${name}'`, {
    details: found.map((relationship) => ({
      cardinality: relationship.cardinality,
      embedding: `${relationship.from.name} with ${relationship.to.name}`,
      relationship: told(relationship),
    })),
    hint: `Try changing '${name}' to one of the following: ${hints}. Find the desired relationship in the 'details' key.`,
  })
}

function told({ from, to, columns, constraint, junction }: Relationship): string {
  const list = (names: readonly string[]) => `(${names.join(', ')})`
  if (junction) {
    const [first, second] = junction.constraints
    return `${junction.name} using ${first}${list(junction.fromColumns.map(([, column]) => column))} and ${second}${list(junction.toColumns.map(([column]) => column))}`
  }
  return `${constraint} using ${from.name}${list(columns.map(([column]) => column))} and ${to.name}${list(columns.map(([, column]) => column))}`
}
