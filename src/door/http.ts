import { MayflyError } from '../core/errors.ts'
import { jsonOf } from '../core/json-body.ts'
import { json } from '../core/json-reply.ts'
import { LIMITS } from '../core/limits.ts'
import type { Principal } from '../core/principal.ts'
import type { Project } from '../core/project.ts'
import type { RequestContext, Route, Upgrade } from '../core/route.ts'
import { type Door, USER } from './service.ts'
import { streamOf } from './tunnel.ts'

/** Where the door listens. */
export interface DoorPlace {
  readonly host: string
  readonly port: number
  readonly tls: boolean
}

export interface DoorHttpDeps {
  readonly door: Door
  /** Null where it was closed by a setting. */
  readonly place: () => DoorPlace | null
  readonly audit: (what: string, project: string) => void
}

export const routes = ({ door, place, audit }: DoorHttpDeps): Route[] => [
  {
    method: 'GET',
    path: '/api/v1/projects/:ref/database',
    access: 'manage',
    plane: 'management',
    doc: "Tells where any PostgreSQL client reaches the project's database, without the password.",
    handle: async (context) => json(200, whereOf(place(), projectOf(context))),
  },
  {
    method: 'POST',
    path: '/api/v1/projects/:ref/database/password',
    access: 'manage',
    plane: 'management',
    doc: "Shows the password of the project's database and a connection string with it; `rotate: true` makes another, and ends the sessions that came in by the one before. An audited act.",
    handle: async (context) => {
      const project = projectOf(context)
      const isRotated = wishOf(await context.body(LIMITS.managementBody.value))
      const password = isRotated ? await door.passwords.rotate(project) : await door.passwords.reveal(project)
      if (isRotated) door.end(project.ref, 'byPassword')
      audit(`the password of the database was ${isRotated ? 'rotated' : 'revealed'} by ${nameOf(context.principal)}`, project.ref)
      const where = whereOf(place(), project)
      const url =
        where.host === null
          ? null
          : `postgresql://${where.user}:${password}@${where.host.includes(':') ? `[${where.host}]` : where.host}:${where.port}/${where.database}${where.tls ? '?sslmode=require' : ''}`
      const shown = json(200, { ...where, password, url })
      return { ...shown, headers: { ...shown.headers, 'cache-control': 'no-store' } }
    },
  },
]

export const upgrades = ({ door, audit }: Pick<DoorHttpDeps, 'door' | 'audit'>): Upgrade[] => [
  {
    path: '/database/v1/websocket',
    access: 'manage',
    doc: "A session of PostgreSQL's own protocol in the project's database, as its owner, by binary messages; `mayfly db psql` is its client.",
    frameBytes: LIMITS.doorFrame.value,
    admit: ({ project, principal }) => audit(`a session of the database was opened by ${nameOf(principal)}`, project.ref),
    accept: ({ project }, socket) => void door.serveKnown(streamOf(socket), project),
  },
]

const projectOf = (context: RequestContext): Project => context.project as Project
const nameOf = (principal: Principal) => ('keyId' in principal ? `key ${principal.keyId}` : principal.kind)

const whereOf = (place: DoorPlace | null, { ref }: Project) => ({
  host: place?.host ?? null,
  port: place?.port ?? null,
  tls: place?.tls ?? false,
  user: `${USER}.${ref}`,
  database: 'postgres',
})

function wishOf(body: Buffer): boolean {
  if (body.length === 0) return false
  const value = jsonOf(body)
  const { rotate = false } = (typeof value === 'object' && value !== null ? value : {}) as { rotate?: unknown }
  if (typeof rotate !== 'boolean') throw new MayflyError('bad_request', 'rotate: true or false')
  return rotate
}
