import type { Databases } from '../../backends/database/database.ts'
import { LIMITS } from '../../core/limits.ts'
import type { SqlIdentity } from '../../core/session.ts'
import type { Clock } from '../../lib/clock.ts'
import { Turns } from '../../lib/turns.ts'
import type { Asked } from '../join.ts'
import type { Subscriber } from '../client.ts'
import { authorise, type Seen } from './authorise.ts'
import { type Bound, fulfils } from './filter.ts'
import { columnsOf, dataOf } from './payload.ts'
import type { Change, Relation } from './pgoutput.ts'
import type { Table, Tables } from './tables.ts'
import { untilVisible } from './visibility.ts'

export interface Binding {
  readonly asked: Asked
  readonly conditions: readonly Bound[]
}
export interface Registered {
  readonly subscriber: Subscriber
  /** Subscribers of one identity see the same. */
  readonly who: string
  readonly bindings: readonly Binding[]
}
/** Who asked for what, as it is now. */
export interface Registry {
  interestedIn(relation: Relation): ReadonlySet<Registered>
  has(registered: Registered): boolean
}
export interface DeliveryDeps {
  readonly databases: Databases
  readonly project: string
  readonly clock: Clock
  readonly tables: Tables
  readonly registry: Registry
  /** Have these changes waited for longer than they may? */
  readonly isLate: () => boolean
}

const IDENTITIES_AT_ONCE = 4
/** All projects are served by one thread: so long one may have it. */
const TURN_MS = 10

export class TooFarBehind extends Error {
  constructor() {
    super(`changes come faster than their readers can be asked for: more than ${LIMITS.realtimeLag.value / 1000} s behind`)
  }
}

/**
 * Tells changes to whoever asked for them and may see them, in the order of the changes.
 * @throws TooFarBehind when the comparing alone takes too long
 */
export async function deliver(deps: DeliveryDeps, changes: readonly Change[], signal: AbortSignal): Promise<void> {
  const { databases, project, clock, registry } = deps
  const tables = new Map<Relation, Table>()
  for (const { relation } of changes) if (!tables.has(relation)) tables.set(relation, await deps.tables.of(relation))
  const interested = new Map([...tables.keys()].map((relation) => [relation, registry.interestedIn(relation)]))

  const turns = new Turns(clock, TURN_MS)
  const deliveries: { readonly change: Change; readonly to: Registered; readonly bindings: readonly Binding[] }[] = []
  const questions = new Map<string, { readonly identity: SqlIdentity; readonly byTable: Map<Table, Set<Change>> }>()
  for (const change of changes) {
    const table = tables.get(change.relation) as Table
    for (const to of interested.get(change.relation) ?? []) {
      const bindings: Binding[] = []
      for (const binding of to.bindings) {
        if (matches(binding, change)) bindings.push(binding)
        if (!turns.over) continue
        await turns.next()
        if (signal.aborted) return
        if (deps.isLate()) throw new TooFarBehind()
      }
      if (bindings.length === 0) continue
      deliveries.push({ change, to, bindings })
      let question = questions.get(to.who)
      if (!question) {
        question = { identity: to.subscriber.identity, byTable: new Map() }
        questions.set(to.who, question)
      }
      const asked = question.byTable.get(table) ?? new Set()
      question.byTable.set(table, asked.add(change))
    }
  }
  if (deliveries.length === 0) return

  const { sql } = await databases.openProject(project)
  await untilVisible(sql, new Set(changes.map(({ xid }) => xid)), clock, signal)
  const roles = await databases.openRoles(project)
  const answers = new Map<string, Map<Table, Seen>>()
  const open = [...questions].flatMap(([who, { identity, byTable }]) => [...byTable].map(([table, asked]) => ({ who, identity, table, asked: [...asked] })))
  const ask = async () => {
    for (let one = open.shift(); one; one = open.shift()) {
      const seen = await authorise(roles, one.identity, one.table, one.asked)
      const known = answers.get(one.who) ?? new Map<Table, Seen>()
      answers.set(one.who, known.set(one.table, seen))
    }
  }
  await Promise.all(Array.from({ length: IDENTITIES_AT_ONCE }, ask))

  const made = new Map<string, string | null>()
  let of: Change | null = null
  turns.begin()
  for (const { change, to, bindings } of deliveries) {
    if (turns.over) {
      await turns.next()
      if (signal.aborted) return
    }
    if (!registry.has(to)) continue
    if (of !== change) made.clear()
    of = change
    const table = tables.get(change.relation) as Table
    const seen = answers.get(to.who)?.get(table)
    if (!seen) continue
    const readable = new Set(columnsOf(table, seen, change.type === 'DELETE' ? 'old' : 'record').map((at) => table.relation.columns[at]?.name))
    // What a filter says of a value that may not be seen would tell it.
    const allowed = bindings.filter(({ conditions }) => conditions.every(({ column }) => readable.has(column)))
    const [first] = allowed
    if (!first) continue
    const selects = allowed.map(({ asked }) => asked.select)
    const select = selects.every((one) => one !== null) ? [...new Set(selects.flat())] : null
    const name = `${to.who} ${JSON.stringify(select)}`
    let data = made.get(name)
    if (data === undefined) {
      data = dataOf(table, change, seen, select)
      made.set(name, data)
    }
    if (data !== null) to.subscriber.change([...new Set(allowed.map(({ asked }) => asked.id))], data)
  }
}

const speaksOf = ({ schema, table }: Asked, relation: Relation) => (schema === '*' || schema === relation.schema) && (table === '*' || table === relation.name)

function matches({ asked, conditions }: Binding, change: Change): boolean {
  if (asked.event !== '*' && asked.event !== change.type) return false
  const { relation } = change
  if (!speaksOf(asked, relation)) return false
  const tuple = change.type === 'DELETE' ? change.old : change.record
  return conditions.every((condition) => fulfils(condition, tuple?.[relation.columns.findIndex(({ name }) => name === condition.column)]))
}
