import { json } from '../core/json-reply.ts'
import { MayflyError } from '../core/errors.ts'
import { jsonOf } from '../core/json-body.ts'
import { LIMITS } from '../core/limits.ts'
import { type Project, type ProjectRef, parseProjectRef } from '../core/project.ts'
import type { Reply, RequestContext, Route } from '../core/route.ts'
import { isSha256, sha256Hex } from './artefacts.ts'
import type { FunctionRecord } from './builds.ts'
import type { Kept } from './concurrency/targets.ts'
import { checkFunctionName, definitionOfSpec, parseFunctionSpec } from './definition.ts'
import { layerRoutes } from './layers/http.ts'
import type { ArtefactLinks } from './links.ts'
import type { FunctionsService } from './service.ts'
import type { AsyncSettings } from './types.ts'
import { versionRoutes } from './versions-http.ts'

export interface FunctionsHttpDeps {
  readonly functions: FunctionsService
  readonly links: ArtefactLinks
  /** What is reserved for a function now, and how it stands with what is kept loaded of its newest version. */
  readonly concurrencyOf?: (record: FunctionRecord) => { readonly reserved: number | null; readonly kept: Kept | null }
}

const MAX_LISTED = 1000

export function routes({ functions, links, concurrencyOf }: FunctionsHttpDeps): Route[] {
  const shown = (record: FunctionRecord) => {
    const now = concurrencyOf?.(record) ?? { reserved: null, kept: null }
    return { ...settingsOf(record), reservedConcurrency: now.reserved, provisionedNow: now.kept }
  }
  const management = (method: string, path: string, doc: string, handle: (context: RequestContext, project: ProjectRef) => Promise<Reply>): Route => ({
    ...(method === 'PUT' ? { adds: 'data' } : {}),
    method,
    path: `/api/v1/projects/:ref${path}`,
    access: 'manage',
    plane: 'management',
    doc,
    handle: async (context) => await handle(context, projectOf(context)),
  })
  return [
    ...layerRoutes(functions),
    management('GET', '/functions', 'Lists the functions of a project; `after` continues where a page ended.', async (context, project) => {
      const records = await functions.list(project, (context.query.get('after') ?? '').replaceAll('\0', ''), MAX_LISTED + 1)
      const page = records.slice(0, MAX_LISTED)
      return json(200, {
        functions: page.map(shown),
        next: records.length > MAX_LISTED ? (page.at(-1)?.name ?? null) : null,
      })
    }),
    management('GET', '/functions/:name', 'Shows a function.', async (context, project) =>
      json(200, {
        function: shown(await functions.get(project, context.params.name ?? '')),
      }),
    ),
    management(
      'GET',
      '/functions/:name/source-map',
      'The source map of the bundle that a function runs, or `name:qualifier` a version or alias of it: leads from lines of the bundle to those of the files that it was made of.',
      async (context, project) => {
        const [name = '', qualifier = null] = (context.params.name ?? '').split(/:(.*)/)
        const map = await functions.sourceMap(project, name, qualifier)
        return { status: 200, headers: { 'content-type': 'application/json', 'cache-control': 'private, no-store' }, body: map }
      },
    ),
    management('DELETE', '/functions/:name', 'Deletes a function.', async (context, project) => {
      await functions.delete(project, context.params.name ?? '')
      return { status: 204 }
    }),
    management('PUT', '/functions/:name', 'Makes a function equal to the JSON body; the same again changes nothing.', async (context, project) => {
      const name = context.params.name ?? ''
      checkFunctionName(name)
      const spec = parseFunctionSpec(jsonOf(await context.body(LIMITS.managementBody.value)))
      const { record, created, changed, warnings } = await functions.put(project, definitionOfSpec(name, spec, {}), spec.environment, spec.artefact)
      return json(created ? 201 : 200, {
        function: shown(record),
        changed,
        warnings,
      })
    }),
    management(
      'GET',
      '/artefacts/:sha256',
      'Tells whether a project has an artefact, and its size.',
      async (context, project) => await artefactReply(functions, context, project),
    ),
    management('HEAD', '/artefacts/:sha256', 'The same without a body.', async (context, project) => ({
      ...(await artefactReply(functions, context, project)),
      body: null,
    })),
    management('PUT', '/artefacts/:sha256', 'Stores a zip archive under its SHA-256.', async (context, project) => {
      const sha256 = shaOf(context)
      const known = (await functions.artefactBytes(project, sha256)) !== null
      const zip = await context.body(LIMITS.zippedCode.value)
      checkHash(zip, sha256)
      await functions.storeArtefact(project, zip) // also when known: its time in the sweep begins anew
      return json(known ? 200 : 201, { artefact: sha256, bytes: zip.length })
    }),
    ...versionRoutes(functions, (record) => concurrencyOf?.(record).kept ?? null),
    {
      method: 'GET',
      path: '/api/v1/artefacts/:ref/:sha256',
      access: 'open',
      plane: 'management',
      doc: "Downloads an artefact by a link of the Lambda API's GetFunction, valid for 10 minutes.",
      handle: async (context) => {
        const project = parseProjectRef(context.params.ref ?? '')
        const sha256 = context.params.sha256 ?? ''
        if (project === null || !isSha256(sha256) || !links.allows(project, sha256, context.query.get('token') ?? '')) {
          throw new MayflyError('not_allowed', 'this link is not valid or its 10 minutes are over; ask GetFunction for another')
        }
        const { bytes, pieces } = await functions.readArtefact(project, sha256)
        return {
          status: 200,
          headers: {
            'content-type': 'application/zip',
            'content-length': String(bytes),
            'cache-control': 'private, no-store',
          },
          body: pieces,
        }
      },
    },
  ]
}

const projectOf = (context: RequestContext): ProjectRef => (context.project as Project).ref

function shaOf(context: RequestContext): string {
  const sha256 = context.params.sha256 ?? ''
  if (!isSha256(sha256)) throw new MayflyError('bad_request', 'an artefact is named by 64 lower-case hexadecimal digits: the SHA-256 of its bytes')
  return sha256
}

function checkHash(zip: Buffer, sha256: string): void {
  const actual = sha256Hex(zip)
  if (actual !== sha256) throw new MayflyError('bad_request', `the body has the SHA-256 ${actual}, but the path says ${sha256}`)
}

async function artefactReply(functions: FunctionsService, context: RequestContext, project: ProjectRef): Promise<Reply> {
  const sha256 = shaOf(context)
  const bytes = await functions.artefactBytes(project, sha256)
  if (bytes === null) throw new MayflyError('not_found', `the project ${project} has no artefact ${sha256}`)
  return json(200, { artefact: sha256, bytes })
}

/** Without the values of the environment: they may be secrets, and its owner has them. */
function settingsOf(record: FunctionRecord) {
  const { definition } = record
  return {
    name: record.name,
    runtime: definition.runtime,
    handler: definition.handler,
    framework: definition.framework,
    description: definition.description,
    memory: definition.memoryMb,
    timeout: definition.timeoutSeconds,
    tmp: definition.tmpMb,
    concurrency: definition.concurrency,
    reuse: definition.reuse,
    sandbox: definition.driver ?? 'auto',
    egress: definition.egress,
    role: definition.role,
    verifyJwt: definition.verifyJwt,
    provisioned: definition.provisioned,
    async: shownAsync(definition.async),
    secrets: definition.secrets,
    layers: definition.layers,
    environmentNames: Object.keys(record.environment ?? {}).sort(),
    artefact: record.artefact,
    codeBytes: record.codeBytes,
    versionId: record.versionId,
    revisionId: record.revisionId,
    state: record.state,
    createdAt: record.createdAt.toISOString(),
    modifiedAt: record.modifiedAt.toISOString(),
  }
}

const shownAsync = ({ maxAttempts, maxAgeSeconds, retryAfter, keepResultSeconds, onceWithinSeconds, ...rest }: AsyncSettings) => ({
  maxAttempts,
  maxAge: maxAgeSeconds,
  retryAfter: retryAfter ?? null,
  ...rest,
  ...(keepResultSeconds === undefined ? {} : { keepResult: keepResultSeconds }),
  ...(onceWithinSeconds === undefined ? {} : { onceWithin: onceWithinSeconds }),
})
