import type { Reply, RequestContext } from '../core/route.ts'
import { identityOf, type SqlIdentity } from '../core/session.ts'
import type { IncomingHttpHeaders } from 'node:http'
import type { Clock } from '../lib/clock.ts'
import type { Leaving } from '../lib/leaving.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project } from '../core/project.ts'
import { DatabaseError } from '../backends/database/database.ts'
import { AnswerTooLarge, DataError } from './errors.ts'
import { planRequest, schemaOf } from './plan/plan-request.ts'
import { openapiOf, type Visible } from './openapi.ts'
import type { DataPlan } from './plan/plan.ts'
import { piecesOf } from './query/pieces.ts'
import { type Made, type Query, queryOf } from './query/query.ts'
import { rootQuery } from './query/root.ts'
import { judgeOf, replyOf, rollsBack } from './reply.ts'
import { contentTypeOf } from './plan/negotiate.ts'
import { type DataRequest, readRequest } from './request/request.ts'
import type { Data, DataPlace, SharedPlaces } from './service.ts'
import type { Snapshot } from './schema/snapshot.ts'
import { stream } from './stream.ts'
import { type Answer, mayShare, mayShareWrite, readShared, type Setting, transact, writeShared } from './transaction.ts'

/** request → plan → query → transaction → reply. @throws DataError, DatabaseError, MayflyError */
export async function serve(data: Data, context: RequestContext): Promise<Reply> {
  const identity = identityOf(context.principal)
  const place = await data.placeOf((context.project as Project).ref)
  const request = await readRequest({
    method: context.method,
    path: context.params['*'] ?? '',
    rawQuery: context.rawQuery,
    headers: context.headers,
    body: () => context.body(LIMITS.dataBody.value),
    clock: data.clock,
  })
  const { plan, snapshot } = await planned(request, place)
  if (plan.kind === 'describe') return { status: 200, headers: { allow: plan.allow }, body: null }
  const schema = schemaOf(request, snapshot)
  if (plan.kind === 'root') return await describeAll(context, plan.schema, { snapshot, place, request, identity, clock: data.clock })
  const routine = plan.kind === 'call' ? plan.call.routine : null
  const query = queryOf(plan, request.preferences, snapshot.settings.maxRows)
  const setting = {
    identity,
    schema,
    method: context.method,
    path: `/${context.params['*'] ?? ''}`,
    headers: JSON.stringify(headersForSql(context.headers)),
    timezone: request.preferences.timezone,
    isReadOnly: request.isRead || (routine !== null && routine.volatility !== 'volatile'),
    depth: context.depth,
    hoisted: routine?.settings ?? new Map<string, string>(),
    rollsBack: rollsBack(request.preferences, snapshot),
  }
  const made: Asked = { plan, request, snapshot, setting, schema, party: partyOf(context, identity) }
  try {
    const answer = await ask(place, made, query, leavingOf(context), data.clock)
    return replyOf(plan, request, snapshot, answer, schema)
  } catch (error) {
    if (!isTooLarge(error) || !setting.isReadOnly || plan.shape.media.kind === 'plan') throw error
    return await inPieces(place, made, context.signal)
  }
}

/** In a session of its own. @returns what it took in it, too */
async function alone(
  place: DataPlace,
  { plan, request, snapshot, setting, party }: Asked,
  query: Query,
  signal: Leaving,
  clock: Clock,
): Promise<{ readonly answer: Answer; readonly ms: number }> {
  using _turn = await place.gate.enter(party, signal)
  const from = clock.monotonic()
  const answer = await transact(place.pool, snapshot, setting, query, { judge: judgeOf(plan, request), cancel: place.cancel, signal, clock })
  return { answer, ms: clock.monotonic() - from }
}

/** What is known to be quick goes behind others; by what it took it is known. */
async function ask(place: DataPlace, asked: Asked, query: Query, signal: Leaving, clock: Clock): Promise<Answer> {
  const { shared } = place
  const { plan, request, setting } = asked
  if (shared === null || !mayStandBehind(asked, query)) return (await alone(place, asked, query, signal, clock)).answer
  const key = `${setting.identity.role} ${query.main.text}`
  const failed = (error: unknown, isByItself: boolean): never => {
    if (isByItself) shared.quick.failed(key, error)
    throw error
  }
  const found = shared.quick.isQuick(key) ? await sharedly(shared, asked, query, signal).catch((error: unknown) => failed(error, true)) : null
  // As it would be done twice each time, it has to show anew that it waits for nobody.
  if (found === 'held') shared.quick.saw(key, { ms: LIMITS.dataQuick.value + 1, bytes: 0 })
  const isDone = found !== null && found !== 'held'
  // A client that leaves ends what is alone, however quick it is; in a shared session only what is slow.
  const { answer, ms } = isDone ? found : await alone(place, asked, query, signal, clock).catch((error: unknown) => failed(error, !signal.aborted))
  if (found !== 'held') shared.quick.saw(key, { ms, bytes: answer.row.bytes ?? 0 })
  if (isDone) judgeOf(plan, request)?.(answer)
  return answer
}

/** A write of a table's own rows whose answer nobody judges before it stays, and reads. */
function mayStandBehind({ plan, request, snapshot, setting }: Asked, query: Query): boolean {
  if (plan.kind === 'read') return mayShare(snapshot, setting, query)
  if (plan.kind !== 'write' || plan.write.relation.isView || plan.shape.media.kind === 'plan') return false
  return plan.write.json.length <= MOST_BEHIND && judgeOf(plan, request) === null && mayShareWrite(snapshot, setting, query)
}

async function sharedly({ reads, writes }: SharedPlaces, { plan, party, snapshot, setting }: Asked, query: Query, signal: Leaving) {
  const isRead = plan.kind === 'read'
  const { gate, sessions } = isRead ? reads : writes
  using _turn = await gate.enter(party, signal)
  return await (isRead ? readShared : writeShared)(sessions, snapshot, setting, query, signal)
}

/** A body of more characters keeps its session busy. */
const MOST_BEHIND = 64 * 1024

interface Asked {
  readonly plan: Made
  readonly request: DataRequest
  readonly snapshot: Snapshot
  readonly setting: Setting
  readonly schema: string
  readonly party: string
}

/** More than the limit, or more than PostgreSQL makes one value of. */
const isTooLarge = (error: unknown) => error instanceof AnswerTooLarge || (error instanceof DatabaseError && error.sqlState === '54000')

/** What is too large to be held is asked for once more, to leave as its client takes it. */
async function inPieces(place: DataPlace, { plan, request, snapshot, setting, schema, party }: Asked, signal: AbortSignal): Promise<Reply> {
  const query = piecesOf(plan, request.preferences, snapshot.settings.maxRows)
  // Told apart from other requests, so that slow clients of large answers never have all sessions.
  using held = new DisposableStack()
  held.use(await place.streams.enter(party, signal))
  held.use(await place.gate.enter(party, signal))
  let reply: Reply | null = null
  const judge = judgeOf(plan, request)
  const body = await stream(place.streaming, snapshot, setting, query, {
    // What would be refused is refused before anything is told.
    judge: (answer) => {
      judge?.(answer)
      reply = replyOf(plan, request, snapshot, answer, schema)
    },
    isHeadOnly: request.isHeadOnly,
    held: held.move(),
    signal,
  })
  return { ...(reply as unknown as Reply), body }
}

/** The document of a schema, with what the role of who asks may use of it. */
async function describeAll(
  context: RequestContext,
  schema: string,
  { snapshot, place, request, identity, clock }: { snapshot: Snapshot; place: DataPlace; request: DataRequest; identity: SqlIdentity; clock: Clock },
): Promise<Reply> {
  const setting = {
    identity,
    schema,
    method: context.method,
    path: '/',
    headers: JSON.stringify(headersForSql(context.headers)),
    timezone: null,
    isReadOnly: true,
    depth: context.depth,
    hoisted: new Map<string, string>(),
    rollsBack: false,
  }
  using _turn = await place.gate.enter(partyOf(context, identity), leavingOf(context))
  const { row } = await transact(place.pool, snapshot, setting, rootQuery(schema), {
    judge: null,
    cancel: place.cancel,
    signal: leavingOf(context),
    clock,
  })
  const visible = JSON.parse(row.body?.toString() ?? '{"relations":[],"routines":[],"description":null}') as Visible
  // Every project is there by its name, the default one too; by its own port without.
  const base = new URL(context.ownPort ? '/rest/v1' : `/p/${(context.project as Project).ref}/rest/v1`, context.origin)
  return {
    status: 200,
    headers: { 'content-type': contentTypeOf({ kind: 'openapi' }), ...(request.profile === null ? {} : { 'content-profile': schema }) },
    body: JSON.stringify(openapiOf(snapshot, schema, visible, base)),
  }
}

/** A signal costs more than most of what it would end. */
const leavingOf = (context: RequestContext): Leaving => context.leaving ?? context.signal

/** Who has a share of the sessions: a user, wherever he is; else an address. */
const partyOf = ({ remoteAddress }: RequestContext, { role, claims }: SqlIdentity): string =>
  role === 'authenticated' && typeof claims.sub === 'string' ? `user ${claims.sub}` : `${role} ${remoteAddress}`

const NOT_FOUND = new Set(['PGRST106', 'PGRST200', 'PGRST202', 'PGRST204', 'PGRST205'])

/** What is not found may have been made since the schema was read: then it is looked at again, once. */
async function planned(request: DataRequest, { schema }: DataPlace): Promise<{ plan: DataPlan; snapshot: Snapshot }> {
  const snapshot = await schema.current()
  try {
    return { plan: planRequest(request, snapshot), snapshot }
  } catch (error) {
    if (!(error instanceof DataError) || !NOT_FOUND.has(error.code)) throw error
    const newer = await schema.again(snapshot)
    if (newer === null) throw error
    return { plan: planRequest(request, newer), snapshot: newer }
  }
}

/** What SQL may read of a request: no key, and no cookie. */
function headersForSql(headers: IncomingHttpHeaders): Record<string, string> {
  const told: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || name === 'cookie' || name === 'apikey' || name === 'authorization') continue
    told[name] = Array.isArray(value) ? value.join(', ') : value
  }
  return told
}
