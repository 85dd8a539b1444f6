import { MayflyError } from '../core/errors.ts'
import { jsonOf } from '../core/json-body.ts'
import { json } from '../core/json-reply.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Reply, RequestContext, Route } from '../core/route.ts'
import { type ApiKey, type ApiKeys, KEY_KINDS } from './api-keys.ts'
import type { KeyKind } from './store.ts'
import type { Issuers } from './tokens/issuers.ts'
import type { LegacySecrets } from './tokens/legacy.ts'

export interface KeyRoutesDeps {
  readonly keys: ApiKeys
  readonly legacy: LegacySecrets
  readonly issuers: Issuers
  readonly project: (ref: ProjectRef) => Project | null
  /** Those who came in by a key that is none any more have to come again. */
  readonly cut: (project: ProjectRef) => Promise<void>
  readonly audit: (what: string, project: string) => void
}

const AT = '/api/v1/projects/:ref'

/** Who a project lets in: the operator's. */
export const keyRoutes = ({ keys, legacy, issuers, project, cut, audit }: KeyRoutesDeps): Route[] => {
  const route = (
    method: string,
    path: string,
    doc: string,
    handle: (of: Project, context: RequestContext, body: () => Promise<Record<string, unknown>>) => Promise<Reply>,
  ): Route => ({
    method,
    path: `${AT}${path}`,
    access: 'operator',
    plane: 'management',
    doc,
    handle: async (context) => {
      const of = project((context.params.ref ?? '') as ProjectRef)
      if (of?.state !== 'active') throw new MayflyError('project_not_found', 'there is no such project')
      const reply = await handle(of, context, async () => parsed(await context.body(LIMITS.managementBody.value)))
      return { ...reply, headers: { ...reply.headers, 'cache-control': 'no-store' } }
    },
  })
  return [
    route(
      'GET',
      '/api-keys',
      'Lists the keys of a project that have not ended; of secret ones the beginning alone. `?reveal=true` shows them in clear, an audited act.',
      async (of, { query }) => {
        const all = await keys.list(of)
        if (query.get('reveal') !== 'true') return json(200, { keys: all.map(shown) })
        audit('keys were revealed', of.ref)
        const clear = await keys.reveal(of)
        return json(200, { keys: all.map((key) => ({ ...shown(key), key: clear.get(key.id) })) })
      },
    ),
    route(
      'POST',
      '/api-keys',
      'Makes one more key (`kind`: `publishable` or `secret`) beside those that are there; it is in the answer.',
      async (of, _context, body) => {
        const kind = kindOf(await body())
        const made = await keys.make(of, kind)
        audit(`the ${kind} key ${made.id} was made`, of.ref)
        return json(201, { ...made, kind })
      },
    ),
    route('POST', '/api-keys/rotate', 'Makes a key (`kind`); all others of the kind end after `overlapHours` (0: at once).', async (of, _context, body) => {
      const wish = await body()
      const kind = kindOf(wish)
      if (typeof wish.overlapHours !== 'number') throw new MayflyError('bad_request', 'overlapHours: how long the former keys still hold')
      const made = await keys.rotate(of, kind, wish.overlapHours)
      if (wish.overlapHours === 0) await cut(of.ref)
      audit(`the ${kind} keys were rotated: ${made.id} is new, the others end in ${wish.overlapHours} h`, of.ref)
      return json(201, { ...made, kind })
    }),
    route('DELETE', '/api-keys/:id', 'Revokes a key: from the answer on it opens nothing, in no process of the node.', async (of, { params }) => {
      const { id, kind } = await keys.revoke(of, params.id ?? '')
      await cut(of.ref)
      audit(`the ${kind} key ${id} was revoked`, of.ref)
      return { status: 204 }
    }),
    route(
      'POST',
      '/legacy-keys',
      'Gives the keys of the older form (JWTs by a secret, HS256), made where the project has none; an audited act.',
      async (of) => {
        const revealed = await legacy.ensure(of)
        audit('legacy keys were revealed', of.ref)
        return json(200, revealed)
      },
    ),
    route('DELETE', '/legacy-keys', 'Takes the secret of the older form away: no key and no token by it opens anything.', async (of) => {
      await legacy.revoke(of)
      await cut(of.ref)
      audit('the legacy keys were revoked', of.ref)
      return { status: 204 }
    }),
    route('GET', '/issuers', 'Lists the issuers whose users a project takes for its own.', async (of) => json(200, { issuers: await issuers.list(of) })),
    route('PUT', '/issuers', 'Has a project take the users of an issuer for its own (`issuer`, `audience`, `jwksUrl`).', async (of, _context, body) => {
      const { issuer, audience, jwksUrl } = await body()
      if (typeof issuer !== 'string' || typeof audience !== 'string' || typeof jwksUrl !== 'string')
        throw new MayflyError('bad_request', '`issuer`, `audience` and `jwksUrl` are texts')
      await issuers.put(of, { issuer, audience, jwksUrl })
      audit(`the issuer ${JSON.stringify(issuer)} is trusted`, of.ref)
      return json(200, { issuers: await issuers.list(of), unread: await issuers.unread(jwksUrl) })
    }),
    route('DELETE', '/issuers', 'Trusts an issuer (`?issuer=`) no more.', async (of, { query }) => {
      const issuer = query.get('issuer') ?? ''
      await issuers.remove(of, issuer.replaceAll('\0', ''))
      await cut(of.ref)
      audit(`the issuer ${JSON.stringify(issuer)} is trusted no more`, of.ref)
      return { status: 204 }
    }),
  ]
}

const shown = ({ id, kind, shown: text, createdAt, endsAt }: ApiKey) => ({
  id,
  kind,
  shown: text,
  createdAt: createdAt.toISOString(),
  endsAt: endsAt?.toISOString() ?? null,
})

function kindOf({ kind }: Record<string, unknown>): KeyKind {
  const known = KEY_KINDS.find((one) => one === kind)
  if (!known) throw new MayflyError('bad_request', 'kind: `publishable` or `secret`')
  return known
}

function parsed(body: Buffer): Record<string, unknown> {
  const value = jsonOf(body)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new MayflyError('bad_request', 'the body must be one JSON object')
  return value as Record<string, unknown>
}
