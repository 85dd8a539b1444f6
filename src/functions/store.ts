import type { Database, Sql, Tx } from '../backends/database/database.ts'
import type { ProjectRef } from '../core/project.ts'
import type { FunctionDefinition } from './types.ts'

/** A definition as stored: the name stands in the function's row and the tags are not part of a version. */
export type StoredDefinition = Omit<FunctionDefinition, 'name' | 'tags'>

export interface FunctionRow {
  id: string
  projectId: string
  name: string
  versionId: string
  revisionId: string
  tags: Record<string, string>
  createdAt: Date
  modifiedAt: Date
  definition: StoredDefinition
  artefact: string
  codeBytes: string
  environment: Uint8Array | null
  state: 'pending' | 'active' | 'failed'
  stateReason: string | null
}

export interface NewVersion {
  readonly id: string
  readonly functionId: string
  readonly definition: StoredDefinition
  readonly artefact: string
  readonly codeBytes: number
  readonly environment: Uint8Array | null
}

type Query = Sql | Tx

export const projectId = async (sql: Query, ref: ProjectRef): Promise<string | null> =>
  (
    await sql<{
      id: string
    }>`select id from mayfly.project where ref = ${ref} and state <> 'deleting'`
  )[0]?.id ?? null

export const saveArtefact = (sql: Query, project: string, sha256: string, bytes: number) => sql`
  insert into mayfly.artefact (project_id, sha256, bytes) values (${project}, ${sha256}, ${bytes})
  on conflict (project_id, sha256) do update set created_at = clock_timestamp()`

export const artefactBytes = async (sql: Query, ref: ProjectRef, sha256: string): Promise<number | null> => {
  const [row] = await sql<{ bytes: string }>`
    select artefact.bytes from mayfly.artefact join mayfly.project on project.id = artefact.project_id
     where project.ref = ${ref} and artefact.sha256 = ${sha256}`
  return row ? Number(row.bytes) : null
}

export const findFunction = async (sql: Query, ref: ProjectRef, name: string): Promise<FunctionRow | null> =>
  (
    await sql<FunctionRow>`
      select function.id, function.project_id as "projectId", function.name, function.version_id as "versionId", function.revision_id as "revisionId", function.tags,
             function.created_at as "createdAt", function.modified_at as "modifiedAt", version.definition, version.artefact,
             version.code_bytes as "codeBytes", version.environment, version.state, version.state_reason as "stateReason"
        from mayfly.project
        join mayfly.function on function.project_id = project.id
        join mayfly.function_version version on version.id = function.version_id
       where project.ref = ${ref} and function.name = ${name}`
  )[0] ?? null

/** In the order of names as bytes, so that a page's last name tells where the next begins. */
export const listFunctions = (sql: Query, ref: ProjectRef, after: string, limit: number) => sql<FunctionRow>`
  select function.id, function.project_id as "projectId", function.name, function.version_id as "versionId", function.revision_id as "revisionId", function.tags,
         function.created_at as "createdAt", function.modified_at as "modifiedAt", version.definition, version.artefact,
         version.code_bytes as "codeBytes", version.environment, version.state, version.state_reason as "stateReason"
    from mayfly.project
    join mayfly.function on function.project_id = project.id
    join mayfly.function_version version on version.id = function.version_id
   where project.ref = ${ref} and function.name collate "C" > ${after}
   order by function.name collate "C"
   limit ${limit}`

export const latestFunctions = (sql: Query, limit: number) => sql<{ project: ProjectRef; name: string }>`
  select project.ref as project, function.name from mayfly.function join mayfly.project on project.id = function.project_id
   where project.state = 'active' order by function.modified_at desc limit ${limit}`

export const insertFunction = (
  tx: Tx,
  row: {
    id: string
    project: string
    name: string
    versionId: string
    revisionId: string
    tags: Readonly<Record<string, string>>
  },
) => tx`
  insert into mayfly.function (id, project_id, name, version_id, revision_id, tags)
  values (${row.id}, ${row.project}, ${row.name}, ${row.versionId}, ${row.revisionId}, ${JSON.stringify(row.tags)}::jsonb)`

export const insertVersion = (tx: Tx, project: string, version: NewVersion) => tx`
  insert into mayfly.function_version (id, function_id, project_id, definition, artefact, code_bytes, environment, state)
  values (${version.id}, ${version.functionId}, ${project}, ${JSON.stringify(version.definition)}::jsonb, ${version.artefact},
          ${version.codeBytes}, ${version.environment}, 'active')`

/** Points $LATEST at another version, if nobody has done so since `expected` was read. */
export const moveLatest = async (tx: Tx, functionId: string, versionId: string, revisionId: string, expected: string): Promise<boolean> => {
  const rows = await tx`
    update mayfly.function set version_id = ${versionId}, revision_id = ${revisionId}, modified_at = clock_timestamp()
     where id = ${functionId} and revision_id = ${expected} returning id`
  return rows.length === 1
}

export const saveTags = (tx: Tx, functionId: string, tags: Readonly<Record<string, string>>) => tx`
  update mayfly.function set tags = ${JSON.stringify(tags)}::jsonb where id = ${functionId}`

export const deleteFunction = async (tx: Tx, ref: ProjectRef, name: string): Promise<string | null> => {
  const rows = await tx<{ versionId: string }>`
    delete from mayfly.function using mayfly.project
     where project.id = function.project_id and project.ref = ${ref} and function.name = ${name}
    returning function.version_id as "versionId"`
  return rows[0]?.versionId ?? null
}

/** Versions that nothing points at any more, made long enough ago that no call should be in them. */
export const deleteOldVersions = (sql: Query, olderThanSeconds: number) => sql`
  delete from mayfly.function_version version
   where created_at < clock_timestamp() - ${olderThanSeconds} * interval '1 second'
     and not exists (select from mayfly.function where function.version_id = version.id)`

export const versionsOf = (sql: Query, ref: ProjectRef) => sql<{ id: string }>`
  select version.id from mayfly.function_version version join mayfly.project on project.id = version.project_id where project.ref = ${ref}`

export const unusedArtefacts = (sql: Query, olderThanSeconds: number, limit: number) => sql<{
  project: string
  ref: ProjectRef
  sha256: string
}>`
  select artefact.project_id as project, project.ref, artefact.sha256
    from mayfly.artefact join mayfly.project on project.id = artefact.project_id
   where artefact.created_at < clock_timestamp() - ${olderThanSeconds} * interval '1 second'
     and not exists (select from mayfly.function_version version where version.project_id = artefact.project_id and version.artefact = artefact.sha256)
   limit ${limit}`

/** False when a version names it again, or it was stored again. */
export const forgetArtefact = async (database: Database, project: string, sha256: string, olderThanSeconds: number): Promise<boolean> => {
  const rows = await database.sql`
    delete from mayfly.artefact
     where project_id = ${project} and sha256 = ${sha256}
       and created_at < clock_timestamp() - ${olderThanSeconds} * interval '1 second'
       and not exists (select from mayfly.function_version version where version.project_id = artefact.project_id and version.artefact = artefact.sha256)
    returning sha256`
  return rows.length === 1
}
