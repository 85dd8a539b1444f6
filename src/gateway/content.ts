import type { IncomingMessage } from 'node:http'
import { parseProjectRef, type Project, type ProjectRef } from '../core/project.ts'
import type { Reply } from '../core/route.ts'
import { type Sites, siteReply, textReply } from '../sites/index.ts'
import { hostName, isLoopbackName, LONGEST_NAME, MOST_NAMES } from './doors.ts'

export interface ContentDeps {
  readonly sites: Pick<Sites, 'find' | 'read' | 'readCompressed'>
  readonly project: (ref: ProjectRef) => Promise<Project | null>
  readonly defaultProject: ProjectRef
  readonly publishableKey: (project: Project) => Promise<string>
  /** Sites stand below it, beside below `localhost`; null when there is none. */
  readonly domain: string | null
  /** What the world sees as the address of the API; null when nobody said. */
  readonly publicUrl: string | null
}

/** The label of host names, and the first part of paths, below which functions have addresses of their own. */
export const FUNCTION_URLS = 'lambda-url'
/** Names of two labels that are no sites. */
const OTHER_CONTENT: ReadonlySet<string> = new Set([FUNCTION_URLS])

/**
 * The content door: host names `<site>.<ref>.localhost` (and below the domain), an origin each. The name alone decides,
 * before any route is looked for, so that nothing else of the node is ever reached by the origin of a site.
 */
export class Content {
  readonly #deps: ContentDeps
  readonly #labels = new Map<string, readonly string[]>()

  constructor(deps: ContentDeps) {
    this.#deps = deps
  }

  /** Whether a Host header names a site, one that is there or not. */
  owns(host: string | undefined): boolean {
    return this.#partsOf(host) !== null
  }

  /** What a request to such a host gets. @param secure whether it came by TLS */
  async reply(request: IncomingMessage, secure: boolean): Promise<Reply> {
    const { sites, publishableKey } = this.#deps
    const { site: name = '', ref: refText = '' } = this.#partsOf(request.headers.host) ?? {}
    const ref = parseProjectRef(refText)
    const found = ref === null ? null : await this.#deps.project(ref)
    if (found?.state !== 'active') return textReply(404, `There is no project ${refText.slice(0, 63)} here.`)
    const site = await sites.find(found.ref, name)
    if (!site) return textReply(404, `There is no site ${name.slice(0, 63)} in the project ${found.ref}.`)
    const url = request.url ?? '/'
    const mark = url.indexOf('?')
    const asked = {
      method: request.method ?? 'GET',
      rawPath: mark === -1 ? url : url.slice(0, mark),
      rawQuery: mark === -1 ? '' : url.slice(mark + 1),
      ifNoneMatch: request.headers['if-none-match'],
      range: request.headers.range,
      ifRange: textOf(request.headers['if-range']),
      acceptEncoding: textOf(request.headers['accept-encoding']),
    }
    return await siteReply(sites, site, asked, async () => ({
      url: this.#apiOf(found, `${secure ? 'https' : 'http'}`, request.headers.host ?? ''),
      ref: found.ref,
      publishableKey: await publishableKey(found),
    }))
  }

  /** Where a site is reached by whoever reached the API at `origin`; null when no name of the site leads here from there. */
  address(origin: string, ref: ProjectRef, site: string): string | null {
    const { protocol, hostname, port } = new URL(origin)
    const { domain } = this.#deps
    const base = isLoopbackName(hostname.replace(/^\[|\]$/g, '')) ? 'localhost' : domain
    return base === null ? null : `${protocol}//${site}.${ref}.${base}${port === '' ? '' : `:${port}`}/`
  }

  /**
   * The address of a function URL: a host name of its own where a domain is configured, else a path, as only browsers
   * resolve names below `localhost`. It works for whoever reached the API at `origin`.
   */
  functionUrl(origin: string, id: string): string {
    const { domain, publicUrl } = this.#deps
    const base = publicUrl ?? origin
    const { protocol, hostname, port } = new URL(base)
    if (domain === null || isLoopbackName(hostname.replace(/^\[|\]$/g, ''))) return `${base}/${FUNCTION_URLS}/${id}/`
    return `${protocol}//${id}.${FUNCTION_URLS}.${domain}${port === '' ? '' : `:${port}`}/`
  }

  /** The id in a Host header of a function URL, one that is there or not. */
  functionAt(host: string | undefined): string | null {
    const labels = this.#labelsOf(host)
    return labels.length === 2 && labels[1] === FUNCTION_URLS ? labels[0] || null : null
  }

  /** The project's address, as the browser that shows the site reaches it. */
  #apiOf(project: Project, scheme: string, host: string): string {
    const { publicUrl, domain, defaultProject } = this.#deps
    const port = /:\d+$/.exec(host)?.[0] ?? ''
    const api = domain !== null && hostName(host)?.endsWith(`.${domain}`) ? domain : '127.0.0.1'
    const url = publicUrl ?? `${scheme}://${api}${port}`
    return project.ref === defaultProject ? url : `${url}/p/${project.ref}`
  }

  #partsOf(host: string | undefined): { site: string; ref: string } | null {
    const labels = this.#labelsOf(host)
    const [site, ref] = labels
    if (!site || !ref || labels.length > 2 || OTHER_CONTENT.has(ref)) return null
    return { site, ref }
  }

  /** What stands before `localhost` or the domain. Each request asks several times, and most say the same. */
  #labelsOf(host: string | undefined): readonly string[] {
    if (host === undefined) return []
    let labels = this.#labels.get(host)
    if (labels === undefined) {
      labels = this.#readLabels(host)
      if (this.#labels.size >= MOST_NAMES) this.#labels.clear()
      if (host.length <= LONGEST_NAME) this.#labels.set(host, labels)
    }
    return labels
  }

  #readLabels(host: string): readonly string[] {
    const name = hostName(host)
    const base = name === null ? null : ['localhost', this.#deps.domain].find((one) => one !== null && name.endsWith(`.${one}`))
    return name === null || !base ? [] : name.slice(0, -base.length - 1).split('.')
  }
}

const textOf = (header: string | string[] | undefined): string | undefined => (Array.isArray(header) ? header.join(', ') : header)
