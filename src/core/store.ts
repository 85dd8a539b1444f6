import type { Sql, Tx } from '../backends/database/database.ts'
import type { JournalPosition } from './journal.ts'
import { DEFAULT_LIMIT_PROFILE, type LimitProfileName } from './limit-profiles.ts'
import type { Project, ProjectRef, ProjectState } from './project.ts'

type Ask = Sql | Tx
export interface ProjectRow extends Project {
  readonly dataKey: Buffer
  readonly limitProfile: LimitProfileName
  /** The id of the project that it begins as a copy of. */
  readonly clonedFrom: string | null
}

export const insertProject = (
  sql: Ask,
  project: { id: string; ref: ProjectRef; name: string; dataKey: Buffer; limitProfile?: LimitProfileName; clonedFrom?: string | null },
) => sql<ProjectRow>`
  insert into mayfly.project (id, ref, name, state, data_key, limit_profile, cloned_from)
  values (${project.id}, ${project.ref}, ${project.name}, 'creating', ${project.dataKey}, ${project.limitProfile ?? DEFAULT_LIMIT_PROFILE},
          ${project.clonedFrom ?? null})
  returning id, ref, name, state, data_key as "dataKey", limit_profile as "limitProfile", cloned_from as "clonedFrom"`

export const selectProjects = (sql: Ask) => sql<ProjectRow>`
  select id, ref, name, state, data_key as "dataKey", limit_profile as "limitProfile", cloned_from as "clonedFrom" from mayfly.project order by created_at, id`

/** Null where there is no such project. */
export const selectLimitProfile = async (sql: Ask, ref: ProjectRef): Promise<LimitProfileName | null> => {
  const [row] = await sql<{ profile: LimitProfileName }>`select limit_profile as profile from mayfly.project where ref = ${ref}`
  return row?.profile ?? null
}

/** Of a project that is not being deleted. */
export const updateLimitProfile = (sql: Ask, ref: ProjectRef, profile: LimitProfileName) => sql<{ ref: ProjectRef }>`
  update mayfly.project set limit_profile = ${profile}, version = version + 1 where ref = ${ref} and state <> 'deleting' returning ref`

export const selectProjectVersions = (sql: Ask) => sql<{ ref: ProjectRef; version: string }>`select ref, version from mayfly.project`

/** What is being deleted comes to no other state any more. */
export const updateProjectState = (sql: Ask, ref: ProjectRef, state: Exclude<ProjectState, 'creating'>) => sql<ProjectRow>`
  update mayfly.project set state = ${state}, version = version + 1 where ref = ${ref} and (${state} = 'deleting' or state = 'creating')
  returning id, ref, name, state, data_key as "dataKey", limit_profile as "limitProfile", cloned_from as "clonedFrom"`

export const selectPaused = (sql: Ask) => sql<{ ref: ProjectRef }>`select ref from mayfly.project where paused_at is not null and state = 'active'`

/** By id: of a project that went, and of another of its name, nothing is changed. */
export const updatePaused = (sql: Ask, id: string) => sql<{ ref: ProjectRef }>`
  update mayfly.project set paused_at = clock_timestamp() where id = ${id} and state = 'active' returning ref`

export const updateResumed = (sql: Ask, ref: ProjectRef) => sql`update mayfly.project set paused_at = null where ref = ${ref}`

export const insertProjectPort = (tx: Tx, projectId: string, port: number) =>
  tx`insert into mayfly.project_port (project_id, port) values (${projectId}, ${port})`

/** Instead of the one that it has, if any. */
export const upsertProjectPort = (tx: Tx, projectId: string, port: number) => tx`
  insert into mayfly.project_port (project_id, port) values (${projectId}, ${port})
  on conflict (project_id) do update set port = excluded.port`

/** Held against its deletion. */
export const selectProjectForPort = (tx: Tx, projectId: string) =>
  tx<{ id: string }>`select id from mayfly.project where id = ${projectId} and state <> 'deleting' for share`

export const deleteProjectPort = (tx: Tx, projectId: string) => tx`delete from mayfly.project_port where project_id = ${projectId}`

export const selectProjectPorts = (sql: Ask) => sql<{ ref: ProjectRef; port: number }>`
  select p.ref, o.port from mayfly.project_port o join mayfly.project p on p.id = o.project_id where p.state <> 'deleting' order by o.port`

export const deleteProject = (sql: Ask, ref: ProjectRef) => sql`delete from mayfly.project where ref = ${ref} and state = 'deleting'`

/** In the transaction of a change of definitions, keys or policies: caches compare it. */
export const bumpProjectVersion = (tx: Tx, ref: ProjectRef) => tx<{ version: string }>`
  update mayfly.project set version = version + 1 where ref = ${ref} returning version`

export const readJournalPosition = async (sql: Ask, journal: string): Promise<JournalPosition | null> => {
  const [row] = await sql<{ segment: string; position: string }>`select segment, position from mayfly.journal_position where journal = ${journal}`
  return row ? { segment: Number(row.segment), offset: Number(row.position) } : null
}

/** Moves a journal's position on from where it is known to be, null for nowhere yet. @returns whether it was there */
export const moveJournalPosition = async (tx: Tx, journal: string, from: JournalPosition | null, to: JournalPosition): Promise<boolean> => {
  const moved =
    from === null
      ? await tx`insert into mayfly.journal_position (journal, segment, position) values (${journal}, ${to.segment}, ${to.offset}) on conflict do nothing returning 1`
      : await tx`
          update mayfly.journal_position set segment = ${to.segment}, position = ${to.offset}
           where journal = ${journal} and segment = ${from.segment} and position = ${from.offset} returning 1`
  return moved.length === 1
}

/** The role and the claims hold until the transaction ends. */
export const setRole = (tx: Tx, role: string, claims: string) => tx`
  select set_config('role', ${role}, true), set_config('request.jwt.claims', ${claims}, true)`
