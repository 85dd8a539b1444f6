import { json } from '../../core/json-reply.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Project } from '../../core/project.ts'
import type { Reply, RequestContext, Route } from '../../core/route.ts'
import { isSecretName } from './names.ts'
import type { Secrets } from './service.ts'

/** Secrets by the management API: they can be set and removed, and never be read again. */
export function secretRoutes(secrets: Secrets): Route[] {
  const row = (method: string, doc: string, handle: (context: RequestContext, project: Project) => Promise<Reply>): Route => ({
    ...(method === 'PUT' ? { adds: 'data' } : {}),
    method,
    path: '/api/v1/projects/:ref/secrets',
    access: 'manage',
    plane: 'management',
    doc,
    handle: async (context) => await handle(context, context.project as Project),
  })
  return [
    row('GET', 'Lists the secrets of a project: names, digests and times, never values.', async (_, project) => {
      const infos = await secrets.list(project.ref)
      const shown = infos.map(({ name, digest, createdAt, modifiedAt }) => ({
        name,
        digest,
        createdAt: createdAt.toISOString(),
        modifiedAt: modifiedAt.toISOString(),
      }))
      return json(200, { secrets: shown })
    }),
    row('PUT', 'Sets secrets (`{"secrets": {"NAME": "value"}}`), all of them or none; those that are not named stay.', async (context, project) => {
      const values = valuesOf(await context.body(LIMITS.managementBody.value))
      return json(200, { changed: await secrets.set(project, values) })
    }),
    row('DELETE', 'Removes secrets (`name`, which may stand several times), all of them or none.', async (context, project) => {
      await secrets.remove(project, namesOf(context.query))
      return { status: 204 }
    }),
  ]
}

/** What the parser would say of a body repeats a piece of it: here it may be a secret, so nothing is repeated. */
function parsed(body: Buffer): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch {
    throw new MayflyError('body_not_json', 'the body is not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new MayflyError('bad_request', 'the body must be a JSON object')
  return value as Record<string, unknown>
}

function valuesOf(body: Buffer): Record<string, string> {
  const { secrets } = parsed(body)
  const wrong = () => new MayflyError('bad_request', 'secrets: must be an object of names with texts')
  if (typeof secrets !== 'object' || secrets === null || Array.isArray(secrets)) throw wrong()
  const entries = Object.entries(secrets as Record<string, unknown>)
  if (entries.length === 0) throw new MayflyError('bad_request', 'secrets: names none')
  if (entries.some(([, value]) => typeof value !== 'string')) throw wrong()
  return Object.fromEntries(entries) as Record<string, string>
}

function namesOf(query: URLSearchParams): string[] {
  const names = [...new Set(query.getAll('name'))]
  if (names.length === 0 || names.length > LIMITS.secrets.value || !names.every(isSecretName))
    throw new MayflyError('bad_request', 'name: must be the names of secrets')
  return names
}
