import { json } from '../../core/json-reply.ts'
import { z } from 'zod'
import { MayflyError } from '../../core/errors.ts'
import { jsonOf } from '../../core/json-body.ts'
import { LIMITS } from '../../core/limits.ts'
import { isPlainLines } from '../../core/plain-text.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import type { Reply, RequestContext, Route } from '../../core/route.ts'
import { isSha256 } from '../artefacts.ts'
import type { Layers, LayerVersion } from './service.ts'

const MAX_LISTED = 1000
const ANY = { runtime: null, architecture: null }

const publishSchema = z.strictObject({
  artefact: z.string().refine(isSha256, { error: 'must be 64 lower-case hexadecimal digits' }),
  description: z.string().max(256).refine(isPlainLines, { error: 'must not hold control characters' }).default(''),
})

/** Layers by the management API. */
export const layerRoutes = (functions: { readonly layers: Layers }): Route[] => {
  const management = (method: string, path: string, doc: string, handle: (context: RequestContext, project: ProjectRef) => Promise<Reply>): Route => ({
    ...(method === 'POST' ? { adds: 'data' } : {}),
    method,
    path: `/api/v1/projects/:ref/layers${path}`,
    access: 'manage',
    plane: 'management',
    doc,
    handle: async (context) => await handle(context, (context.project as Project).ref),
  })
  return [
    management('GET', '', 'Lists the layers of a project, each by its newest version; `after` continues where a page ended.', async (context, project) => {
      const found = await functions.layers.list(project, ANY, (context.query.get('after') ?? '').replaceAll('\0', ''), MAX_LISTED + 1)
      const page = found.slice(0, MAX_LISTED)
      return json(200, { layers: page.map(shown), next: found.length > MAX_LISTED ? (page.at(-1)?.name ?? null) : null })
    }),
    management('GET', '/:name', 'Lists the versions of a layer, the newest first; `below` continues where a page ended.', async (context, project) => {
      const below = context.query.get('below') ?? '2147483647'
      if (!/^\d{1,10}$/.test(below) || Number(below) > 2_147_483_647) throw new MayflyError('bad_request', 'below: must be the number of a version')
      const found = await functions.layers.listVersions(project, nameOf(context), ANY, Number(below), MAX_LISTED + 1)
      const page = found.slice(0, MAX_LISTED)
      return json(200, { versions: page.map(shown), next: found.length > MAX_LISTED ? (page.at(-1)?.number ?? null) : null })
    }),
    management('POST', '/:name', 'Publishes an artefact of the project as the next version of a layer.', async (context, project) => {
      const { artefact, description } = parse(await context.body(LIMITS.managementBody.value))
      const made = await functions.layers.publish(project, nameOf(context), { artefact, description, license: null, runtimes: null, architectures: null })
      return json(201, { layer: shown(made) })
    }),
    management('DELETE', '/:name/:version', 'Deletes a version of a layer; functions that use it keep it.', async (context, project) => {
      const { number } = await functions.layers.get(project, nameOf(context), numberOf(context))
      await functions.layers.delete(project, nameOf(context), number)
      return { status: 204 }
    }),
  ]
}

function nameOf(context: RequestContext): string {
  const name = context.params.name ?? ''
  if (!/^[a-zA-Z0-9_-]{1,140}$/.test(name)) throw new MayflyError('bad_request', 'name: must be 1 to 140 letters, digits, `-` and `_`')
  return name
}

function numberOf(context: RequestContext): number {
  const text = context.params.version ?? ''
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new MayflyError('bad_request', 'version: must be the number of a version')
  return Number(text)
}

function parse(body: Buffer): z.infer<typeof publishSchema> {
  const value = jsonOf(body)
  const parsed = publishSchema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new MayflyError(
    'bad_request',
    parsed.error.issues
      .slice(0, 10)
      .map((issue) => `${issue.path.map(String).join('.') || 'the body'}: ${issue.message}`)
      .join('; '),
  )
}

const shown = (version: LayerVersion) => ({
  name: version.name,
  version: version.number,
  description: version.description,
  runtimes: version.runtimes,
  architectures: version.architectures,
  license: version.license,
  artefact: version.artefact,
  codeBytes: version.codeBytes,
  publishedAt: version.publishedAt.toISOString(),
})
