import { json } from '../core/json-reply.ts'
import { MayflyError } from '../core/errors.ts'
import { jsonOf } from '../core/json-body.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import { isAliasName } from '../functions/index.ts'
import type { Reply, RequestContext, Route } from '../core/route.ts'
import { parseDocument, parseFunction } from './document.ts'
import type { DeploymentInfo, Deployments } from './service.ts'

export interface DeploymentsHttpDeps {
  readonly deployments: Deployments
  /** Where a site is reached by whoever reached the API at this origin. */
  readonly address: (origin: string, project: ProjectRef, site: string) => string | null
}

/** So long a request waits for its deployment to be reached. */
const WAIT_MS = 20_000

export function routes({ deployments, address }: DeploymentsHttpDeps): Route[] {
  const management = (method: string, path: string, doc: string, handle: (context: RequestContext, project: ProjectRef) => Promise<Reply>): Route => ({
    ...(method === 'PUT' ? { adds: 'data' } : {}),
    method,
    path: `/api/v1/projects/:ref/deployments${path}`,
    access: 'manage',
    plane: 'management',
    doc,
    handle: async (context) => await handle(context, (context.project as Project).ref),
  })
  return [
    management('GET', '', 'Lists the deployments of a project.', async (_context, project) =>
      json(200, { deployments: (await deployments.list(project)).map(shown) }),
    ),
    management(
      'POST',
      '/plan',
      'Tells what applying the project file in the body would make, change and remove, and with `alias` what pointing that at its functions would; changes nothing.',
      async (context, project) => {
        const { name, desired } = parseDocument(jsonOf(await context.body(LIMITS.migrationBody.value)))
        return json(200, { name, ...(await deployments.plan(project, name, desired, aliasOf(context))) })
      },
    ),
    {
      method: 'POST',
      path: '/api/v1/projects/:ref/functions/:name/plan',
      access: 'manage',
      plane: 'management',
      doc: 'Tells what making a function equal to the JSON body would change, its triggers and, with `alias`, that alias included; changes nothing.',
      handle: async (context) => {
        const wanted = parseFunction(context.params.name ?? '', jsonOf(await context.body(LIMITS.managementBody.value)))
        return json(200, await deployments.planFunction((context.project as Project).ref, wanted, aliasOf(context)))
      },
    },
    management('GET', '/:name', 'Shows a deployment and whether it is reached.', async (context, project) =>
      json(200, { deployment: shown(await deployments.get(project, context.params.name ?? '')) }),
    ),
    management(
      'PUT',
      '/:name',
      'Makes the parts of a project equal to the project file in the body and removes what its last one had beside; 202 when that takes longer than 20 s.',
      async (context, project) => {
        const name = context.params.name ?? ''
        const body = jsonOf(await context.body(LIMITS.migrationBody.value))
        const document = parseDocument(typeof body === 'object' && body !== null && !Array.isArray(body) ? { name, ...body } : body)
        if (document.name !== name)
          throw new MayflyError('bad_request', `name: is ${JSON.stringify(document.name)}, but the path says ${JSON.stringify(name.slice(0, 100))}`)
        const info = await deployments.apply(project, name, document.desired, WAIT_MS)
        if (info.state === 'failed') throw new MayflyError('deployment_failed', info.error ?? 'the deployment failed')
        const sites = document.desired.sites.map((site) => ({ name: site.name, url: address(context.origin, project, site.name) }))
        return json(info.state === 'reached' ? 200 : 202, { deployment: shown(info), sites })
      },
    ),
  ]
}

const shown = (info: DeploymentInfo) => ({ ...info, modifiedAt: info.modifiedAt.toISOString() })

function aliasOf(context: RequestContext): string | null {
  const alias = context.query.get('alias')
  if (alias !== null && !isAliasName(alias)) throw new MayflyError('bad_request', 'alias: 1 to 128 letters, digits, `-` and `_`, and not digits alone')
  return alias
}
