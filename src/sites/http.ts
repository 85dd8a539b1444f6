import { json } from '../core/json-reply.ts'
import { MayflyError } from '../core/errors.ts'
import { jsonOf } from '../core/json-body.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Reply, RequestContext, Route } from '../core/route.ts'
import { isSha256, parseSiteFiles } from './manifest.ts'
import type { Sites } from './service.ts'

export interface SitesHttpDeps {
  readonly sites: Sites
  /** Where a site is reached by whoever reached the API at this origin; null when no name of it leads here. */
  readonly address: (origin: string, project: ProjectRef, site: string) => string | null
}

export function routes({ sites, address }: SitesHttpDeps): Route[] {
  const management = (method: string, path: string, doc: string, handle: (context: RequestContext, project: ProjectRef) => Promise<Reply>): Route => ({
    ...(method === 'PUT' ? { adds: 'data' } : {}),
    method,
    path: `/api/v1/projects/:ref${path}`,
    access: 'manage',
    plane: 'management',
    doc,
    handle: async (context) => await handle(context, (context.project as Project).ref),
  })
  const toSite = (path: string, doc: string): Route => ({
    method: '*',
    path,
    access: 'open',
    plane: 'data-plane',
    doc,
    handle: async (context) => {
      const project = context.project as Project
      const name = context.params.site ?? ''
      if (!(await sites.find(project.ref, name))) throw new MayflyError('site_not_found', `no site named ${clip(name)} in project ${project.ref}`)
      const url = address(context.origin, project.ref, name)
      if (url === null) throw new MayflyError('not_found', 'sites are not served by this host name: start the node with --domain')
      const query = context.rawQuery === '' ? '' : `?${context.rawQuery}`
      return { status: 307, headers: { location: `${url}${context.params['*'] ?? ''}${query}`, 'cache-control': 'no-store' } }
    },
  })
  return [
    management('GET', '/sites', 'Lists the sites of a project with their addresses.', async (context, project) =>
      json(200, {
        sites: (await sites.list(project)).map((site) => ({ ...site, url: address(context.origin, project, site.name) })),
      }),
    ),
    management(
      'PUT',
      '/sites/:site',
      'Makes a site equal to the JSON body, a list of uploaded `files`; the same again changes nothing.',
      async (context, project) => {
        const name = context.params.site ?? ''
        const files = parseSiteFiles(jsonOf(await context.body(LIMITS.managementBody.value)))
        const { created, changed, artefact } = await sites.put(project, name, files)
        return json(created ? 201 : 200, { site: { name, artefact, url: address(context.origin, project, name) }, changed })
      },
    ),
    management('DELETE', '/sites/:site', 'Deletes a site.', async (context, project) => {
      await sites.delete(project, context.params.site ?? '')
      return { status: 204 }
    }),
    management('PUT', '/site-files/:sha256', 'Stores a file for sites under its SHA-256.', async (context, project) => {
      const sha256 = context.params.sha256 ?? ''
      if (!isSha256(sha256)) throw new MayflyError('bad_request', 'a file is named by 64 lower-case hexadecimal digits: the SHA-256 of its bytes')
      const bytes = await sites.storeFile(project, sha256, context.stream(LIMITS.siteFile.value))
      return json(200, { sha256, bytes })
    }),
    toSite('/sites/:site', 'Leads to the host name of a site.'),
    toSite('/sites/:site/*', 'The same for what is below it.'),
  ]
}

const clip = (text: string) => JSON.stringify(text.slice(0, 100))
