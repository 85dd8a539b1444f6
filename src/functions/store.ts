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
  /** From below to above. */
  layers: { artefact: string; codeBytes: number }[]
  /** Of a published version; 0 for the one that $LATEST names. */
  number: number
  /** What publishing said of it, over the description of the build. */
  ownDescription: string | null
  /** The last number that was given out to a version of the function. */
  published: number
  refusedCode: string | null
  refusedReason: string | null
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
             version.code_bytes as "codeBytes", version.environment, version.state, version.state_reason as "stateReason",
             mayfly.layers_of(version.id) as layers,
             0 as number, null as "ownDescription", function.published, function.refused_code as "refusedCode", function.refused_reason as "refusedReason"
        from mayfly.project
        join mayfly.function on function.project_id = project.id
        join mayfly.function_version version on version.id = function.version_id
       where project.ref = ${ref} and function.name = ${name}`
  )[0] ?? null

/** What a page of the Lambda API asks for at most; the number in the texts of `listFunctions`. */
const ONE_PAGE = 51

/**
 * In the order of names as bytes, so that a page's last name tells where the next begins. Of a page's limit the number
 * stands in the text: of one that is a parameter alone PostgreSQL takes the general plan to be dear, and plans anew
 * each time.
 */
export const listFunctions = (sql: Query, ref: ProjectRef, after: string, limit: number) =>
  limit > ONE_PAGE
    ? sql<FunctionRow>`
  select function.id, function.project_id as "projectId", function.name, function.version_id as "versionId", function.revision_id as "revisionId", function.tags,
         function.created_at as "createdAt", function.modified_at as "modifiedAt", version.definition, version.artefact,
         version.code_bytes as "codeBytes", version.environment, version.state, version.state_reason as "stateReason",
         mayfly.layers_of(version.id) as layers,
         0 as number, null as "ownDescription", function.published, function.refused_code as "refusedCode", function.refused_reason as "refusedReason"
    from mayfly.function
    join mayfly.function_version version on version.id = function.version_id
   where function.project_id = (select id from mayfly.project where ref = ${ref}) and function.name collate "C" > ${after}
   order by function.name collate "C"
   limit ${limit}`
    : sql<FunctionRow>`
  select function.id, function.project_id as "projectId", function.name, function.version_id as "versionId", function.revision_id as "revisionId", function.tags,
         function.created_at as "createdAt", function.modified_at as "modifiedAt", version.definition, version.artefact,
         version.code_bytes as "codeBytes", version.environment, version.state, version.state_reason as "stateReason",
         mayfly.layers_of(version.id) as layers,
         0 as number, null as "ownDescription", function.published, function.refused_code as "refusedCode", function.refused_reason as "refusedReason"
    from (select * from mayfly.function
           where project_id = (select id from mayfly.project where ref = ${ref}) and name collate "C" > ${after}
           order by name collate "C" limit 51) as function
    join mayfly.function_version version on version.id = function.version_id
   order by function.name collate "C"
   limit ${limit}`

/** A published version. */
export const findVersion = async (sql: Query, ref: ProjectRef, name: string, number: number): Promise<FunctionRow | null> =>
  (
    await sql<FunctionRow>`
      select function.id, function.project_id as "projectId", function.name, published.version_id as "versionId", published.revision_id as "revisionId",
             function.tags, function.created_at as "createdAt", published.published_at as "modifiedAt", version.definition, version.artefact,
             version.code_bytes as "codeBytes", version.environment, version.state, version.state_reason as "stateReason",
             mayfly.layers_of(version.id) as layers,
             published.number, published.description as "ownDescription", function.published, function.refused_code as "refusedCode", function.refused_reason as "refusedReason"
        from mayfly.project
        join mayfly.function on function.project_id = project.id
        join mayfly.published_version published on published.function_id = function.id
        join mayfly.function_version version on version.id = published.version_id
       where project.ref = ${ref} and function.name = ${name} and published.number = ${number}`
  )[0] ?? null

export interface VersionPlace {
  readonly name: string
  readonly number: number
}

/** Of one function, or of all, in the order of names as bytes: $LATEST as number 0, then what was published. */
export const listVersions = (sql: Query, ref: ProjectRef, name: string | null, after: VersionPlace, limit: number) => sql<FunctionRow>`
  select function.id, function.project_id as "projectId", function.name, one.version_id as "versionId", one.revision_id as "revisionId",
         function.tags, function.created_at as "createdAt", one.modified_at as "modifiedAt", version.definition, version.artefact,
         version.code_bytes as "codeBytes", version.environment, version.state, version.state_reason as "stateReason",
         mayfly.layers_of(version.id) as layers,
         one.number, one.description as "ownDescription", function.published, function.refused_code as "refusedCode", function.refused_reason as "refusedReason"
    from mayfly.function
   cross join lateral (
     select 0 as number, function.version_id, function.revision_id, function.modified_at, null as description
      union all
     select number, version_id, revision_id, published_at, description from mayfly.published_version where function_id = function.id) as one
    join mayfly.function_version version on version.id = one.version_id
   where function.project_id = (select id from mayfly.project where ref = ${ref}) and (${name}::text is null or function.name = ${name})
     and function.name collate "C" >= ${after.name} and (function.name collate "C", one.number) > (${after.name} collate "C", ${after.number}::int)
   order by function.name collate "C", one.number
   limit ${limit}`

export interface NewPublished {
  readonly functionId: string
  readonly versionId: string
  readonly description: string
  readonly revisionId: string
  /** $LATEST has another one from now on. */
  readonly latestRevisionId: string
  /** The one that was read before: another means that $LATEST was changed meanwhile. */
  readonly expected: string
}

/** Gives a build the next number. @returns it; null when $LATEST was changed meanwhile */
export const insertPublished = async (tx: Tx, published: NewPublished): Promise<number | null> => {
  const [row] = await tx<{ number: number }>`
    with next as (
      update mayfly.function set published = published + 1, revision_id = ${published.latestRevisionId}
       where id = ${published.functionId} and revision_id = ${published.expected} returning id, published)
    insert into mayfly.published_version (function_id, number, version_id, description, revision_id)
    select id, published, ${published.versionId}::uuid, ${published.description}, ${published.revisionId}::uuid from next returning number`
  return row?.number ?? null
}

/** @returns the build that it named; null when there is none of this number */
export const deletePublished = async (tx: Tx, functionId: string, number: number): Promise<string | null> => {
  const rows = await tx<{ versionId: string }>`
    delete from mayfly.published_version where function_id = ${functionId} and number = ${number} returning version_id as "versionId"`
  return rows[0]?.versionId ?? null
}

export const aliasesOfVersion = async (sql: Query, functionId: string, number: number): Promise<string[]> =>
  (
    await sql<{ name: string }>`
      select name from mayfly.function_alias where function_id = ${functionId} and (version = ${number} or other_version = ${number})
       order by name collate "C"`
  ).map((row) => row.name)

export interface AliasRow {
  functionId: string
  name: string
  /** Null: $LATEST. */
  version: number | null
  otherVersion: number | null
  otherWeight: number | null
  description: string
  former: number[]
  revisionId: string
  createdAt: Date
  modifiedAt: Date
}

export const findAlias = async (sql: Query, ref: ProjectRef, functionName: string, name: string): Promise<AliasRow | null> =>
  (
    await sql<AliasRow>`
      select alias.function_id as "functionId", alias.name, alias.version, alias.other_version as "otherVersion", alias.other_weight as "otherWeight",
             alias.description, alias.former, alias.revision_id as "revisionId", alias.created_at as "createdAt", alias.modified_at as "modifiedAt"
        from mayfly.project
        join mayfly.function on function.project_id = project.id
        join mayfly.function_alias alias on alias.function_id = function.id
       where project.ref = ${ref} and function.name = ${functionName} and alias.name = ${name}`
  )[0] ?? null

/** In the order of names as bytes; `number`: only those that name this version. */
export const listAliases = (sql: Query, functionId: string, number: number | null, latest: boolean, after: string, limit: number) => sql<AliasRow>`
  select function_id as "functionId", name, version, other_version as "otherVersion", other_weight as "otherWeight", description, former,
         revision_id as "revisionId", created_at as "createdAt", modified_at as "modifiedAt"
    from mayfly.function_alias
   where function_id = ${functionId} and name collate "C" > ${after}
     and (${number}::int is null or version = ${number} or other_version = ${number}) and (not ${latest}::boolean or version is null)
   order by name collate "C"
   limit ${limit}`

export const countAliases = async (sql: Query, functionId: string): Promise<number> =>
  Number((await sql<{ n: string }>`select count(*) as n from mayfly.function_alias where function_id = ${functionId}`)[0]?.n ?? 0)

export type NewAlias = Pick<AliasRow, 'functionId' | 'name' | 'version' | 'otherVersion' | 'otherWeight' | 'description' | 'revisionId'>

export const insertAlias = (tx: Tx, alias: NewAlias) => tx`
  insert into mayfly.function_alias (function_id, name, version, other_version, other_weight, description, revision_id)
  values (${alias.functionId}, ${alias.name}, ${alias.version}, ${alias.otherVersion}, ${alias.otherWeight}, ${alias.description}, ${alias.revisionId})`

/** @returns whether the alias still had the revision that was read before */
export const updateAlias = async (tx: Tx, alias: NewAlias, former: readonly number[], expected: string): Promise<boolean> => {
  const rows = await tx`
    update mayfly.function_alias
       set version = ${alias.version}, other_version = ${alias.otherVersion}, other_weight = ${alias.otherWeight}, description = ${alias.description},
           former = ${former}::int[], revision_id = ${alias.revisionId}, modified_at = clock_timestamp()
     where function_id = ${alias.functionId} and name = ${alias.name} and revision_id = ${expected} returning name`
  return rows.length === 1
}

export const deleteAlias = async (tx: Tx, functionId: string, name: string): Promise<boolean> =>
  (await tx`delete from mayfly.function_alias where function_id = ${functionId} and name = ${name} returning name`).length === 1

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
    update mayfly.function
       set version_id = ${versionId}, revision_id = ${revisionId}, modified_at = clock_timestamp(), refused_code = null, refused_reason = null
     where id = ${functionId} and revision_id = ${expected} returning id`
  return rows.length === 1
}

/** Leaves $LATEST as it is and says why. @returns whether nobody has changed it since `expected` was read */
export const refuseUpdate = async (tx: Tx, functionId: string, revisionId: string, expected: string, refused: { code: string; reason: string }) => {
  const rows = await tx`
    update mayfly.function set revision_id = ${revisionId}, refused_code = ${refused.code}, refused_reason = ${refused.reason}
     where id = ${functionId} and revision_id = ${expected} returning id`
  return rows.length === 1
}

export const saveTags = (tx: Tx, functionId: string, tags: Readonly<Record<string, string>>) => tx`
  update mayfly.function set tags = ${JSON.stringify(tags)}::jsonb where id = ${functionId}`

/** @returns the builds that served: that of $LATEST and the published ones */
export const deleteFunction = async (tx: Tx, ref: ProjectRef, name: string): Promise<string[]> => {
  const rows = await tx<{ versionIds: string[] }>`
    delete from mayfly.function using mayfly.project
     where project.id = function.project_id and project.ref = ${ref} and function.name = ${name}
    returning array(select version_id from mayfly.published_version where function_id = function.id) || function.version_id as "versionIds"`
  return rows[0]?.versionIds ?? []
}

/** Versions that nothing points at any more, made long enough ago that no call should be in them. */
export const deleteOldVersions = (sql: Query, olderThanSeconds: number) => sql`
  delete from mayfly.function_version version
   where created_at < clock_timestamp() - ${olderThanSeconds} * interval '1 second'
     and not exists (select from mayfly.function where function.version_id = version.id)
     and not exists (select from mayfly.published_version where published_version.version_id = version.id)`

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
     and not exists (select from mayfly.layer_version layer where layer.project_id = artefact.project_id and layer.artefact = artefact.sha256)
   limit ${limit}`

/** False when a version names it again, or it was stored again. */
export const forgetArtefact = async (database: Database, project: string, sha256: string, olderThanSeconds: number): Promise<boolean> => {
  const rows = await database.sql`
    delete from mayfly.artefact
     where project_id = ${project} and sha256 = ${sha256}
       and created_at < clock_timestamp() - ${olderThanSeconds} * interval '1 second'
       and not exists (select from mayfly.function_version version where version.project_id = artefact.project_id and version.artefact = artefact.sha256)
       and not exists (select from mayfly.layer_version layer where layer.project_id = artefact.project_id and layer.artefact = artefact.sha256)
    returning sha256`
  return rows.length === 1
}
