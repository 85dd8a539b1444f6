import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { FolderError } from './mayfly-json.ts'

/** A registry that the folder names: of a scope, or of all packages that have none of their own. */
export interface NamedRegistry {
  readonly scope: string | null
  readonly url: string
  /** What is sent along: it goes to the node for one build, and into no artefact. */
  readonly authorization: string | null
}

export interface Npmrc {
  readonly registries: readonly NamedRegistry[]
  readonly legacyPeerDeps: boolean
  readonly warnings: readonly string[]
}

/** Of no matter for what is installed: how npm speaks, and what it does on a machine of one's own. */
const WITHOUT_MATTER =
  /^(always-auth|audit|audit-level|cache|color|engine-strict|fund|git-tag-version|init[.-].*|loglevel|package-lock|prefer-offline|progress|provenance|save|save-exact|save-prefix|tag-version-prefix|update-notifier|ignore-scripts)$/

/**
 * The `.npmrc` of a folder. What it asks of the environment, as `${NPM_TOKEN}`, is that of who deploys.
 * @throws FolderError for what cannot be read, or a variable that is not there
 */
export function readNpmrc(root: string, environment: NodeJS.ProcessEnv): Npmrc {
  const file = path.join(root, '.npmrc')
  const fields = existsSync(file) ? fieldsOf(readFileSync(file, 'utf8'), environment, file) : new Map<string, string>()
  const registries: NamedRegistry[] = []
  const warnings: string[] = []
  let legacyPeerDeps = false
  for (const [name, value] of fields) {
    const [, scope = null] = /^(?:(@[^:/]+):)?registry$/.exec(name) ?? []
    if (scope !== null || name === 'registry') registries.push({ scope, url: urlOf(value, file), authorization: authorizationOf(value, fields) })
    else if (name === 'legacy-peer-deps') legacyPeerDeps = value !== 'false'
    else if (!name.startsWith('//') && !/^_|^(username|email)$/.test(name) && !WITHOUT_MATTER.test(name)) warnings.push(`.npmrc: "${name}" is not read.`)
    else if (/^_(auth|authToken|password)$/.test(name))
      warnings.push(`.npmrc: "${name}" is not read: say which registry it is for, as in //registry.example/:${name}=….`)
  }
  return { registries, legacyPeerDeps, warnings }
}

function fieldsOf(text: string, environment: NodeJS.ProcessEnv, file: string): Map<string, string> {
  const fields = new Map<string, string>()
  for (const line of text.split(/\r?\n/)) {
    const mark = line.indexOf('=')
    if (/^\s*([#;]|$)/.test(line)) continue
    const name = (mark === -1 ? line : line.slice(0, mark)).trim()
    const value =
      mark === -1
        ? 'true'
        : line
            .slice(mark + 1)
            .trim()
            .replace(/^(["'])(.*)\1$/, '$2')
    fields.set(
      name,
      value.replaceAll(/\$\{([^}?]+)(\?)?\}/g, (_whole, variable: string, optional?: string) => {
        const there = environment[variable]
        if (there === undefined && !optional) throw new FolderError(`${file}: ${name} asks for the variable ${variable}, which is not set here.`)
        return there ?? ''
      }),
    )
  }
  return fields
}

function urlOf(value: string, file: string): string {
  const url = URL.parse(value)
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '')
    throw new FolderError(`${file}: ${JSON.stringify(value)} is no address of a registry, such as https://registry.example/.`)
  return url.href.endsWith('/') ? url.href : `${url.href}/`
}

/** As npm looks for it: by the longest path that the registry's address begins with. */
function authorizationOf(registry: string, fields: ReadonlyMap<string, string>): string | null {
  const { host, pathname } = new URL(registry)
  for (let at = pathname.replace(/\/$/, ''); ; at = at.slice(0, at.lastIndexOf('/'))) {
    const of = (name: string) => fields.get(`//${host}${at}/:${name}`) ?? fields.get(`//${host}${at}:${name}`)
    const [token, basic, name, password] = [of('_authToken'), of('_auth'), of('username'), of('_password')]
    if (token) return `Bearer ${token}`
    if (basic) return `Basic ${basic}`
    if (name && password) return `Basic ${Buffer.from(`${name}:${Buffer.from(password, 'base64').toString('utf8')}`).toString('base64')}`
    if (at === '') return null
  }
}
