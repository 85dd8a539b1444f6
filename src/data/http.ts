import { DatabaseError } from '../backends/database/database.ts'
import { ERRORS, MayflyError } from '../core/errors.ts'
import type { Project } from '../core/project.ts'
import type { Reply, Route } from '../core/route.ts'
import { identityOf } from '../core/session.ts'
import { AnswerTooLarge, DataError, statusOfSqlState } from './errors.ts'
import { serve } from './pipeline.ts'
import { WithoutWhere } from './plan/plan-request.ts'
import { errorReply, raisedReply } from './reply.ts'
import type { Data } from './service.ts'
import { typesText } from './types-text.ts'

/** The data API, as its clients call it. Who may see and change which rows, PostgreSQL says. */
export function routes(data: Data): Route[] {
  const row = (method: string, doc: string, adds?: 'data'): Route => ({
    method,
    path: '/rest/v1/*',
    access: 'project',
    plane: 'data-plane',
    doc,
    ...(adds ? { adds } : {}),
    fail: failure,
    handle: async (context) => {
      try {
        return await serve(data, context)
      } catch (error) {
        if (!(error instanceof DatabaseError) || error.isAway) throw error
        context.signal.throwIfAborted()
        throw new Refused(error, identityOf(context.principal).role === 'anon')
      }
    },
  })
  return [
    row('*', "The project's tables, views and functions, in the words of PostgREST: reads rows of a table, deletes them, calls a function that only reads."),
    row('POST', 'Writes new rows to a table, or calls a function (`/rest/v1/rpc/<function>`).', 'data'),
    row('PATCH', 'Changes the rows that fit.', 'data'),
    {
      method: 'GET',
      path: '/api/v1/projects/:ref/types',
      access: 'manage',
      plane: 'management',
      doc: 'The TypeScript types of what the data API serves, in the form that supabase-js takes.',
      handle: async ({ project }) => {
        const { schema } = await data.placeOf((project as Project).ref)
        return { status: 200, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: typesText(await schema.current()) }
      },
    },
    row('PUT', 'Writes the one row of a key, new or not.', 'data'),
  ]
}

/** What PostgreSQL refused, and whether whoever asked has told who he is. */
class Refused extends Error {
  readonly of: DatabaseError
  readonly isAnonymous: boolean
  constructor(of: DatabaseError, isAnonymous: boolean) {
    super(of.message, { cause: of })
    this.of = of
    this.isAnonymous = isAnonymous
  }
}

const BEARER = 'Bearer'

/** The error in the words of the data API; of a refusal before it (a key, a full disk), the catalogue's code and status. */
export function failure(error: unknown): Reply {
  if (error instanceof DataError) {
    const more: Record<string, string> = error.status === 503 || error.status === 504 ? { 'retry-after': '1' } : {}
    return errorReply(error.status, error.code, error.message, error.details, error.hint, more)
  }
  if (error instanceof WithoutWhere) return errorReply(400, '21000', error.message, null, null)
  if (error instanceof AnswerTooLarge) return errorReply(400, '54000', error.message, null, 'Ask for fewer rows or columns at once, with `limit` and `select`.')
  if (error instanceof Refused) {
    const { sqlState, message, detail, hint } = error.of
    if (sqlState === 'PGRST') return raisedReply(error.of)
    const status = statusOfSqlState(sqlState, message, error.isAnonymous)
    return errorReply(status, sqlState, message, detail, hint, status === 401 ? { 'www-authenticate': BEARER } : {})
  }
  const known = error instanceof MayflyError ? error : new MayflyError('internal', 'the request failed by a fault of this node')
  if (known.code === 'key_missing' || known.code === 'key_invalid') return keyReply(known)
  if (known.code === 'token_invalid' || known.code === 'token_expired' || known.code === 'token_refused') return tokenReply(known)
  // As PostgreSQL says it of a role that it has not.
  if (known.code === 'token_role_unknown') return errorReply(401, '22023', known.message, null, null, { 'www-authenticate': BEARER })
  if (known.code === 'database_unavailable') return errorReply(503, 'PGRST000', 'Database connection error.', null, null, { 'retry-after': '1' })
  const { status, retry, hint } = ERRORS[known.code]
  return errorReply(status, known.code, known.message, null, hint, retry === 'after' ? { 'retry-after': '1' } : {})
}

function tokenReply(error: MayflyError): Reply {
  const { code, message } = error
  const told = `Bearer error="invalid_token", error_description="${message.replaceAll('"', "'")}"`
  return errorReply(401, code === 'token_invalid' ? 'PGRST301' : 'PGRST303', message, null, null, { 'www-authenticate': told })
}

function keyReply(error: MayflyError): Reply {
  const isMissing = error.code === 'key_missing'
  return {
    status: 401,
    headers: { 'content-type': 'application/json; charset=utf-8', 'www-authenticate': BEARER },
    body: JSON.stringify(
      isMissing
        ? { message: 'No API key found in request', hint: 'No `apikey` request header or url param was found.' }
        : { message: 'Invalid API key', hint: "Double check the project's publishable or secret key." },
    ),
  }
}
