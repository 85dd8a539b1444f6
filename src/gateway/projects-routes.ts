import { LIMIT_PROFILE_NAMES, LIMIT_PROFILES, type LimitProfileName, parseLimitProfile } from '../core/limit-profiles.ts'
import { LIMITS } from '../core/limits.ts'
import { MayflyError } from '../core/errors.ts'
import { jsonOf } from '../core/json-body.ts'
import { isPlainText } from '../core/plain-text.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Pausing } from '../core/pausing.ts'
import type { Projects } from '../core/projects.ts'
import type { Route } from '../core/route.ts'
import { json } from '../core/json-reply.ts'

export interface ProjectRoutesDeps {
  readonly projects: Projects
  readonly pausing: Pausing
  readonly revealKeys: (project: Project) => Promise<unknown>
  /** Makes one with keys that it brings along. @throws MayflyError bad_request, project_exists, key_taken, port_taken */
  readonly create: (ref: string, name: string, profile: LimitProfileName | undefined, given: GivenKeys, port: number | null) => Promise<Project>
  /** Null where it has none of its own. */
  readonly portOf: (ref: ProjectRef) => number | null
  /** Null: none from now on. @throws MayflyError bad_request, port_taken, project_not_found */
  readonly setPort: (project: Project, port: number | null) => Promise<void>
  readonly defaultProject: ProjectRef
  readonly audit: (what: string, project: string) => void
}

/** What a project that comes from elsewhere is known by there. */
export interface GivenKeys {
  readonly publishableKey: string | null
  readonly secretKey: string | null
  readonly legacy: { readonly secret: string; readonly anonKey: string | null; readonly serviceRoleKey: string | null } | null
}

/** Projects themselves: the operator's. */
export const projectRoutes = (deps: ProjectRoutesDeps): Route[] => [
  {
    method: 'GET',
    path: '/api/v1/limit-profiles',
    access: 'operator',
    plane: 'management',
    doc: 'Lists the limit profiles that a project may have, with their numbers.',
    handle: async () => json(200, { profiles: LIMIT_PROFILE_NAMES.map((name) => ({ name, ...LIMIT_PROFILES[name] })) }),
  },
  {
    method: 'GET',
    path: '/api/v1/projects',
    access: 'operator',
    plane: 'management',
    doc: 'Lists the projects.',
    handle: async () => json(200, { projects: deps.projects.list().map((project) => show(deps, project)) }),
  },
  {
    method: 'POST',
    path: '/api/v1/projects',
    access: 'operator',
    plane: 'management',
    adds: 'data',
    doc: 'Makes a project (`ref`, `name`, `profile`) with a database and keys of its own; the keys are in the answer. `keys` brings some along: `publishableKey`, `secretKey`, `jwtSecret` with `anonKey` and `serviceRoleKey`; `port` is one where its API is served too, without its name in the path.',
    handle: async (context) => {
      const body = parseObject(await context.body(LIMITS.managementBody.value))
      const { ref, name } = namesOf(body)
      const profile = body.profile === undefined ? undefined : profileOf(body)
      const project = await deps.create(ref, name, profile, givenKeys(body.keys), portOf(body.port))
      return json(201, { project: show(deps, project), keys: await deps.revealKeys(project) })
    },
  },
  {
    method: 'GET',
    path: '/api/v1/projects/:ref',
    access: 'manage',
    plane: 'management',
    doc: 'Shows a project, with the limits that its functions are held to.',
    handle: async (context) => {
      const project = context.project as Project
      return json(200, { project: show(deps, project), limits: LIMIT_PROFILES[deps.projects.limitProfileOf(project.ref)] })
    },
  },
  {
    method: 'PATCH',
    path: '/api/v1/projects/:ref',
    access: 'operator',
    plane: 'management',
    doc: 'Gives a project another limit profile (`profile`), from the next deploy on; functions that are beyond it go on as they are. Or another port of its own (`port`; null: none), whose former one is closed with what is open on it.',
    handle: async (context) => {
      const body = parseObject(await context.body(LIMITS.managementBody.value))
      const profile = body.profile === undefined && body.port !== undefined ? null : profileOf(body)
      const port = portOf(body.port)
      const project = deps.projects.find(context.params.ref as ProjectRef)
      if (project?.state !== 'active') throw new MayflyError('project_not_found', 'there is no such project')
      // What may be refused comes first: then nothing is half done.
      if (body.port !== undefined) {
        await deps.setPort(project, port)
        deps.audit(port === null ? 'it has no port of its own any more' : `its own port became ${port}`, project.ref)
      }
      if (profile !== null) {
        await deps.projects.setLimitProfile(project.ref, profile)
        deps.audit(`the limit profile became ${profile}`, project.ref)
      }
      return json(200, { project: show(deps, project) })
    },
  },
  {
    method: 'GET',
    path: '/api/v1/projects/:ref/keys',
    access: 'operator',
    plane: 'management',
    doc: "Shows a project's keys; an audited act.",
    handle: async (context) => {
      const project = deps.projects.find(context.params.ref as ProjectRef)
      if (!project) throw new MayflyError('project_not_found', 'there is no such project')
      deps.audit('keys were revealed', project.ref)
      return json(200, { keys: await deps.revealKeys(project) })
    },
  },
  {
    method: 'POST',
    path: '/api/v1/projects/:ref/pause',
    access: 'operator',
    plane: 'management',
    doc: 'Pauses a project: what runs in it ends, its events are handed on, its server stops. Its next request wakes it.',
    handle: async (context) => {
      const ref = context.params.ref as ProjectRef
      await deps.pausing.pause(ref)
      deps.audit('a project was paused', ref)
      return json(200, { project: show(deps, deps.projects.find(ref) as Project) })
    },
  },
  {
    method: 'POST',
    path: '/api/v1/projects/:ref/resume',
    access: 'operator',
    plane: 'management',
    doc: 'Wakes a paused project, as its next request would.',
    handle: async (context) => {
      const ref = context.params.ref as ProjectRef
      await deps.pausing.resume(ref)
      deps.audit('a project was resumed', ref)
      return json(200, { project: show(deps, deps.projects.find(ref) as Project) })
    },
  },
  {
    method: 'POST',
    path: '/api/v1/projects/:ref/clone',
    access: 'operator',
    plane: 'management',
    adds: 'data',
    doc: 'Makes a project (`ref`, `name`) with the rows and objects that another has now, while that is in use; its keys are new and in the answer.',
    handle: async (context) => {
      const { ref, name } = namesOf(parseObject(await context.body(LIMITS.managementBody.value)))
      const source = context.params.ref as ProjectRef
      const project = await deps.projects.clone(source, ref, name)
      deps.audit(`a project was made as a copy of ${source}`, project.ref)
      return json(201, { project: show(deps, project), keys: await deps.revealKeys(project) })
    },
  },
  {
    method: 'DELETE',
    path: '/api/v1/projects/:ref',
    access: 'operator',
    plane: 'management',
    doc: 'Removes a project with all that it has. The default project stays.',
    handle: async (context) => {
      const ref = context.params.ref ?? ''
      if (ref === deps.defaultProject) throw new MayflyError('bad_request', 'the default project cannot be deleted')
      await deps.projects.delete(ref)
      deps.audit('a project was deleted', ref)
      return { status: 204 }
    },
  },
]

const GIVEN = ['publishableKey', 'secretKey', 'jwtSecret', 'anonKey', 'serviceRoleKey'] as const
const FORMS = { publishableKey: /^sb_publishable_[\w-]{16,160}$/, secretKey: /^sb_secret_[\w-]{16,160}$/ }

/** @throws MayflyError bad_request */
function givenKeys(keys: unknown): GivenKeys {
  if (keys === undefined) return { publishableKey: null, secretKey: null, legacy: null }
  if (typeof keys !== 'object' || keys === null) throw new MayflyError('bad_request', `keys: an object of ${GIVEN.join(', ')}`)
  const all = keys as Record<string, unknown>
  for (const [name, value] of Object.entries(all)) {
    if (!(GIVEN as readonly string[]).includes(name)) throw new MayflyError('bad_request', `keys: there is no ${JSON.stringify(name.slice(0, 40))}`)
    if (typeof value !== 'string' || value === '' || value.length > LIMITS.tokenBytes.value) throw new MayflyError('bad_request', `keys.${name}: text`)
  }
  const { publishableKey = null, secretKey = null, jwtSecret = null, anonKey = null, serviceRoleKey = null } = all as Record<string, string>
  for (const [name, value] of Object.entries({ publishableKey, secretKey }))
    if (value !== null && !FORMS[name as keyof typeof FORMS].test(value))
      throw new MayflyError('bad_request', `keys.${name}: it has not the form ${name === 'secretKey' ? 'sb_secret_…' : 'sb_publishable_…'}`)
  if (jwtSecret === null && (anonKey ?? serviceRoleKey) !== null)
    throw new MayflyError('bad_request', 'keys.jwtSecret: anonKey and serviceRoleKey are believed by the secret that signed them')
  return { publishableKey, secretKey, legacy: jwtSecret === null ? null : { secret: jwtSecret, anonKey, serviceRoleKey } }
}

/** @throws MayflyError bad_request */
function portOf(port: unknown = null): number | null {
  if (port !== null && typeof port !== 'number')
    throw new MayflyError('bad_request', `port: a whole number from ${LIMITS.projectPort.least} to ${LIMITS.projectPort.value}`)
  return port
}

/** @throws MayflyError bad_request */
function namesOf({ ref, name }: Record<string, unknown>): { ref: string; name: string } {
  if (typeof ref !== 'string') throw new MayflyError('bad_request', 'ref: text of 3 to 40 characters is needed')
  if (name !== undefined && (typeof name !== 'string' || name.length > 200 || !isPlainText(name)))
    throw new MayflyError('bad_request', 'name: text of at most 200 characters, without control characters')
  return { ref, name: name ?? ref }
}

const show = ({ projects, pausing, portOf: ownPortOf }: ProjectRoutesDeps, project: Project) => ({
  ref: project.ref,
  name: project.name,
  state: project.state === 'active' && pausing.isPaused(project.ref) ? 'paused' : project.state,
  profile: projects.limitProfileOf(project.ref),
  ...(ownPortOf(project.ref) !== null && { apiPort: ownPortOf(project.ref) }),
})

/** @throws MayflyError bad_request */
function profileOf(body: Record<string, unknown>): LimitProfileName {
  const profile = parseLimitProfile(body.profile)
  if (profile === null) throw new MayflyError('bad_request', `profile: one of ${LIMIT_PROFILE_NAMES.map((name) => `\`${name}\``).join(', ')}`)
  return profile
}

function parseObject(body: Buffer): Record<string, unknown> {
  const value = jsonOf(body)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new MayflyError('bad_request', 'the body must be one JSON object')
  return value as Record<string, unknown>
}
