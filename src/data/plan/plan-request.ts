import { DataError } from '../errors.ts'
import type { DataRequest } from '../request/request.ts'
import { nameOf, type Qualified, type Relation, type Routine, type Snapshot } from '../schema/snapshot.ts'
import { mostLike } from './hints.ts'
import { negotiate, notAcceptable } from './negotiate.ts'
import type { DataPlan, Shape } from './plan.ts'
import { planRead } from './read.ts'
import { planCall } from './routine.ts'
import { planWrite } from './write.ts'

/** The schema that a request is about. @throws DataError PGRST106 */
export function schemaOf({ profile }: DataRequest, { settings: { schemas } }: Snapshot): string {
  if (profile === null) return schemas[0] as string
  if (schemas.includes(profile)) return profile
  throw new DataError('PGRST106', `Invalid schema: ${profile}`, { hint: `Only the following schemas are exposed: ${schemas.join(', ')}` })
}

/** What a request means in a database as the snapshot says it is. Pure. @throws DataError */
export function planRequest(request: DataRequest, snapshot: Snapshot): DataPlan {
  const schema = schemaOf(request, snapshot)
  const { target } = request
  if (target.kind === 'root') return planRoot(request, schema)
  const qualified: Qualified = { schema, name: target.name }
  if (target.kind === 'function') return planFunction(request, snapshot, qualified)
  const relation = snapshot.relations.get(nameOf(qualified))
  if (!relation) throw noTable(snapshot, qualified)
  if (request.action === 'describe') return { kind: 'describe', allow: allowOf(relation) }
  if (request.action === 'read') {
    const media = negotiate(request, snapshot, { routine: null, relation: qualified, isRows: true })
    const read = planRead(snapshot, { name: relation.name, origin: qualified, source: { kind: 'relation', relation: qualified } }, request, true)
    return { kind: 'read', read, shape: { media, value: 'rows', location: null } }
  }
  const media = negotiate(request, snapshot, { routine: null, relation: qualified, isRows: true })
  const isTold = request.preferences.return === 'representation'
  // Which rows are written is not for the answer to choose again.
  const wanted = { ...request, select: isTold ? request.select : [], ranges: request.ranges.filter(({ path }) => path.length > 0) }
  const orders = isTold ? wanted.orders : []
  const read = planRead(
    snapshot,
    { name: relation.name, origin: qualified, source: { kind: 'made', isCalled: false } },
    isTold ? { ...wanted, orders } : NOTHING,
    false,
  )
  const write = planWrite(request, relation, read)
  if (write.kind !== 'insert' && write.where.length === 0) throw new WithoutWhere(write.kind)
  const location = request.action === 'insert' && request.preferences.return === 'headers-only' ? relation.primaryKey : null
  return { kind: 'write', write, read, shape: { media, value: 'rows', location } }
}

const NOTHING = { select: [], filters: [], logic: [], orders: [], ranges: [] }

/** A whole table is not changed by a condition that was forgotten. */
export class WithoutWhere extends Error {
  constructor(kind: 'update' | 'delete') {
    super(`${kind.toUpperCase()} requires a WHERE clause`)
  }
}

function planRoot(request: DataRequest, schema: string): DataPlan {
  if (request.action === 'describe') return { kind: 'describe', allow: 'OPTIONS,GET,HEAD' }
  if (!request.accept.some(({ kind }) => kind === 'any' || kind === 'json' || kind === 'openapi')) throw notAcceptable(request.accept)
  return { kind: 'root', schema }
}

function planFunction(request: DataRequest, snapshot: Snapshot, qualified: Qualified): DataPlan {
  if (request.action === 'describe') {
    const [routine] = snapshot.routines.get(nameOf(qualified)) ?? []
    if (!routine) throw noFunction(snapshot, qualified)
    return { kind: 'describe', allow: routine.volatility === 'volatile' ? 'OPTIONS,POST' : 'OPTIONS,GET,HEAD,POST' }
  }
  const call = planCall(snapshot, qualified, request)
  const { routine } = call
  if (request.preferences.maxAffected !== null && !routine.returnsSet)
    throw new DataError('PGRST128', 'Function must return SETOF or TABLE when max-affected preference is used with handling=strict')
  const value = shapeOf(routine)
  const isRows = value === 'rows' || value === 'row'
  const media = negotiate(request, snapshot, { routine, relation: isRows ? routine.relation : null, isRows })
  const shape: Shape = { media, value, location: null }
  const read = planRead(
    snapshot,
    { name: routine.name, origin: isRows ? routine.relation : null, source: { kind: 'made', isCalled: true } },
    isRows ? request : { ...NOTHING, ranges: request.ranges.filter(({ path }) => path.length === 0) },
    true,
  )
  return { kind: 'call', call, read, shape }
}

function shapeOf({ returns, returnsSet }: Routine): Shape['value'] {
  if (returns === 'void') return 'none'
  if (returns === 'scalar') return returnsSet ? 'scalars' : 'scalar'
  return returnsSet ? 'rows' : 'row'
}

function allowOf({ isInsertable, isUpdatable, isDeletable, primaryKey }: Relation): string {
  const methods = ['OPTIONS', 'GET', 'HEAD']
  if (isInsertable) methods.push('POST')
  if (isInsertable && isUpdatable && primaryKey.length > 0) methods.push('PUT')
  if (isUpdatable) methods.push('PATCH')
  if (isDeletable) methods.push('DELETE')
  return methods.join(',')
}

function noTable(snapshot: Snapshot, { schema, name }: Qualified): DataError {
  const names = [...snapshot.relations.values()].filter((relation) => relation.schema === schema).map((relation) => relation.name)
  const near = mostLike(name, names)
  return new DataError('PGRST205', `Could not find the table '${schema}.${name}' in the schema cache`, {
    hint: near === null ? null : `Perhaps you meant the table '${schema}.${near}'`,
  })
}

const noFunction = (snapshot: Snapshot, { schema, name }: Qualified): DataError => {
  const names = [...snapshot.routines.values()].flatMap(([routine]) => (routine?.schema === schema ? [routine.name] : []))
  const near = mostLike(name, names)
  return new DataError('PGRST202', `Could not find the function ${schema}.${name} in the schema cache`, {
    hint: near === null ? null : `Perhaps you meant to call the function ${schema}.${near}`,
  })
}
