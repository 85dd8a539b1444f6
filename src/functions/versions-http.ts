import { json } from '../core/json-reply.ts'
import { MayflyError } from '../core/errors.ts'
import { jsonOf } from '../core/json-body.ts'
import { LIMITS } from '../core/limits.ts'
import { isPlainLines } from '../core/plain-text.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Reply, RequestContext, Route } from '../core/route.ts'
import type { Alias, AliasChange } from './aliases.ts'
import type { FunctionRecord } from './builds.ts'
import type { Kept } from './concurrency/targets.ts'
import { numberOf } from './resolver.ts'
import type { FunctionsService } from './service.ts'

const MAX_LISTED = 1_000
const MAX_DESCRIPTION = 256

/** How it stands with the sandboxes that are kept loaded of a version; null where none are to be. */
type KeptOf = (record: FunctionRecord) => Kept | null

/** Published versions and aliases by the management API. */
export function versionRoutes(functions: FunctionsService, keptOf: KeptOf): Route[] {
  const row = (
    method: string,
    path: string,
    doc: string,
    handle: (at: { context: RequestContext; project: ProjectRef; name: string; alias: string }) => Promise<Reply>,
  ): Route => ({
    ...(method === 'PUT' || method === 'POST' ? { adds: 'data' } : {}),
    method,
    path: `/api/v1/projects/:ref/functions/:name${path}`,
    access: 'manage',
    plane: 'management',
    doc,
    handle: (context) => handle({ context, project: (context.project as Project).ref, name: context.params.name ?? '', alias: context.params.alias ?? '' }),
  })
  return [
    row(
      'GET',
      '/versions',
      'Lists the published versions of a function, the newest last, each with the aliases that name it and how it stands with the sandboxes that are kept loaded of it; `after` continues.',
      (at) => listVersions(functions, keptOf, at),
    ),
    row('POST', '/versions', 'Publishes what a function is now (`description` may be given); what equals the version before is that version.', async (at) => {
      const body = await bodyOf(at.context)
      const { record, created } = await functions.versions.publish(at.project, at.name, { description: textOf(body, 'description') })
      return json(created ? 201 : 200, { version: shownVersion(record, [], keptOf(record)), created })
    }),
    row('DELETE', '/versions/:version', 'Deletes a published version that no alias names.', async (at) => {
      const number = numberOf(at.context.params.version ?? '')
      if (number === null) throw noVersion(at.name, at.context.params.version ?? '')
      await functions.versions.delete(at.project, at.name, number)
      return { status: 204 }
    }),
    row('GET', '/aliases', 'Lists the aliases of a function.', async (at) => {
      const aliases = await functions.aliases.list(at.project, at.name, null, '', MAX_LISTED)
      return json(200, { aliases: aliases.map(shownAlias) })
    }),
    row('PUT', '/aliases/:alias', 'Makes an alias, or changes it: `version`, `other` ({version, weight}, or null for none), `description`.', async (at) => {
      const body = await bodyOf(at.context)
      const change: AliasChange = { version: textOf(body, 'version'), description: textOf(body, 'description'), ...otherOf(body) }
      const before = await functions.aliases.find(at.project, at.name, at.alias)
      if (before) return json(200, { alias: shownAlias(await functions.aliases.update(at.project, at.name, at.alias, change)) })
      if (!change.version) throw new MayflyError('bad_request', 'version: an alias that is not there yet has to be told which version it names')
      const made = await functions.aliases.create(at.project, at.name, at.alias, { ...change, version: change.version })
      return json(200, { alias: shownAlias(made) })
    }),
    row('DELETE', '/aliases/:alias', 'Deletes an alias; the version that it named stays.', async (at) => {
      await functions.aliases.delete(at.project, at.name, at.alias)
      return { status: 204 }
    }),
    row(
      'POST',
      '/aliases/:alias/promote',
      'Gives all calls of an alias to `version`, or to what the function is now, published if it is not yet; a sandbox of it has started before.',
      async (at) => {
        const { alias, published, changed } = await functions.promote(at.project, at.name, at.alias, textOf(await bodyOf(at.context), 'version'))
        return json(200, { alias: shownAlias(alias), published, changed })
      },
    ),
    row('POST', '/aliases/:alias/rollback', 'Gives all calls of an alias back to the version that it named before.', async (at) =>
      json(200, { alias: shownAlias(await functions.aliases.rollback(at.project, at.name, at.alias)) }),
    ),
  ]
}

async function listVersions(
  functions: FunctionsService,
  keptOf: KeptOf,
  { context, project, name }: { readonly context: RequestContext; readonly project: ProjectRef; readonly name: string },
): Promise<Reply> {
  await functions.get(project, name)
  const asked = context.query.get('after')
  const after = asked === null ? 0 : numberOf(asked)
  if (after === null) throw new MayflyError('bad_request', 'after: the number of a version')
  const records = await functions.versions.list(project, name, { name, number: after }, MAX_LISTED + 1)
  const aliases = await functions.aliases.list(project, name, null, '', MAX_LISTED)
  const naming = (version: string) => aliases.filter((alias) => alias.version === version || alias.other?.version === version).map((alias) => alias.name)
  const page = records.slice(0, MAX_LISTED)
  return json(200, {
    versions: page.map((record) => shownVersion(record, naming(record.version), keptOf(record))),
    next: records.length > MAX_LISTED ? (page.at(-1)?.version ?? null) : null,
    /** The published version that $LATEST equals. */
    latest: await functions.versions.equalOf(project, name),
  })
}

const shownVersion = (record: FunctionRecord, aliases: readonly string[], provisioned: Kept | null) => ({
  version: record.version,
  description: record.definition.description,
  runtime: record.definition.runtime,
  memory: record.definition.memoryMb,
  artefact: record.artefact,
  codeBytes: record.codeBytes,
  versionId: record.versionId,
  revisionId: record.revisionId,
  publishedAt: record.modifiedAt.toISOString(),
  aliases,
  provisioned,
})

const shownAlias = (alias: Alias) => ({
  ...alias,
  former: alias.former.map(String),
  createdAt: alias.createdAt.toISOString(),
  modifiedAt: alias.modifiedAt.toISOString(),
})

const noVersion = (name: string, version: string) =>
  new MayflyError('version_not_found', `the function "${name}" has no version ${JSON.stringify(version.slice(0, 100))}`)

type Body = Readonly<Record<string, unknown>>

/** An empty body says nothing. */
async function bodyOf(context: RequestContext): Promise<Body> {
  const bytes = await context.body(LIMITS.managementBody.value)
  if (bytes.length === 0) return {}
  const value = jsonOf(bytes)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new MayflyError('bad_request', 'the body must be a JSON object')
  return value as Body
}

function textOf(body: Body, field: 'version' | 'description'): string | null {
  const value = body[field] ?? null
  if (value === null) return null
  if (typeof value !== 'string') throw new MayflyError('bad_request', `${field}: must be a text`)
  if (field === 'description' && (value.length > MAX_DESCRIPTION || !isPlainLines(value)))
    throw new MayflyError('bad_request', `description: at most ${MAX_DESCRIPTION} characters without control characters`)
  return value
}

function otherOf(body: Body): Pick<AliasChange, 'other'> {
  const { other } = body
  if (other === undefined) return {}
  if (other === null) return { other }
  const { version, weight } = other as { version?: unknown; weight?: unknown }
  if (typeof version !== 'string' || typeof weight !== 'number')
    throw new MayflyError('bad_request', 'other: must be {"version": "2", "weight": 0.1}, or null for none')
  return { other: { version, weight } }
}
