import type { Sql, Tx } from '../../backends/database/database.ts'
import type { ProjectRef } from '../../core/project.ts'

type Query = Sql | Tx

/** Who may read a version of a layer, as the Lambda API writes it. */
export type Statement = Readonly<Record<string, unknown>> & { readonly Sid: string }

export interface LayerVersionRow {
  id: string
  name: string
  number: number
  description: string
  license: string | null
  runtimes: string[] | null
  architectures: string[] | null
  artefact: string
  codeBytes: string
  unpackedBytes: string
  policy: Statement[]
  policyRevisionId: string
  publishedAt: Date
  deleted: boolean
}

/** What a version must say that it fits; null asks for nothing. */
export interface Fitting {
  readonly runtime: string | null
  readonly architecture: string | null
}

export interface NewLayerVersion {
  readonly id: string
  readonly layerId: string
  readonly description: string
  readonly license: string | null
  readonly runtimes: readonly string[] | null
  readonly architectures: readonly string[] | null
  readonly artefact: string
  readonly codeBytes: number
  readonly unpackedBytes: number
  readonly policyRevisionId: string
}

/** Gives out the next number of a layer, which is made when there is none of the name. */
export const insertLayerVersion = async (tx: Tx, projectId: string, name: string, version: NewLayerVersion): Promise<number> => {
  const [row] = await tx<{ number: number }>`
    with layer as (
      insert into mayfly.layer (id, project_id, name, published) values (${version.layerId}, ${projectId}, ${name}, 1)
      on conflict (project_id, name) do update set published = layer.published + 1
      returning id, published)
    insert into mayfly.layer_version
           (id, layer_id, project_id, number, description, license, runtimes, architectures, artefact, code_bytes, unpacked_bytes, policy_revision_id)
    select ${version.id}::uuid, layer.id, ${projectId}::uuid, layer.published, ${version.description}, ${version.license}, ${version.runtimes}::text[],
           ${version.architectures}::text[], ${version.artefact}, ${version.codeBytes}::bigint, ${version.unpackedBytes}::bigint, ${version.policyRevisionId}::uuid
      from layer
    returning number`
  return (row as { number: number }).number
}

/** Deleted ones are among them. */
export const findLayerVersion = async (sql: Query, ref: ProjectRef, name: string, number: number): Promise<LayerVersionRow | null> =>
  (
    await sql<LayerVersionRow>`
      select version.id, layer.name, version.number, version.description, version.license, version.runtimes, version.architectures, version.artefact,
             version.code_bytes as "codeBytes", version.unpacked_bytes as "unpackedBytes", version.policy, version.policy_revision_id as "policyRevisionId",
             version.published_at as "publishedAt", version.deleted_at is not null as deleted
        from mayfly.project
        join mayfly.layer on layer.project_id = project.id
        join mayfly.layer_version version on version.layer_id = layer.id
       where project.ref = ${ref} and layer.name = ${name} and version.number = ${number}`
  )[0] ?? null

/** The newest fitting version of each layer that has one, in the order of names as bytes. */
export const listLayers = (sql: Query, ref: ProjectRef, { runtime, architecture }: Fitting, after: string, limit: number) => sql<LayerVersionRow>`
  select version.id, layer.name, version.number, version.description, version.license, version.runtimes, version.architectures, version.artefact,
         version.code_bytes as "codeBytes", version.unpacked_bytes as "unpackedBytes", version.policy, version.policy_revision_id as "policyRevisionId",
         version.published_at as "publishedAt", false as deleted
    from mayfly.project
    join mayfly.layer on layer.project_id = project.id
   cross join lateral (
     select * from mayfly.layer_version
      where layer_id = layer.id and deleted_at is null
        and (${runtime}::text is null or ${runtime} = any (runtimes)) and (${architecture}::text is null or ${architecture} = any (architectures))
      order by number desc limit 1) as version
   where project.ref = ${ref} and layer.name collate "C" > ${after}
   order by layer.name collate "C"
   limit ${limit}`

/** The newest first. */
export const listLayerVersions = (
  sql: Query,
  ref: ProjectRef,
  name: string,
  { runtime, architecture }: Fitting,
  below: number,
  limit: number,
) => sql<LayerVersionRow>`
  select version.id, layer.name, version.number, version.description, version.license, version.runtimes, version.architectures, version.artefact,
         version.code_bytes as "codeBytes", version.unpacked_bytes as "unpackedBytes", version.policy, version.policy_revision_id as "policyRevisionId",
         version.published_at as "publishedAt", false as deleted
    from mayfly.project
    join mayfly.layer on layer.project_id = project.id
    join mayfly.layer_version version on version.layer_id = layer.id
   where project.ref = ${ref} and layer.name = ${name} and version.deleted_at is null and version.number < ${below}
     and (${runtime}::text is null or ${runtime} = any (version.runtimes)) and (${architecture}::text is null or ${architecture} = any (version.architectures))
   order by version.number desc
   limit ${limit}`

export const hideLayerVersion = (sql: Query, ref: ProjectRef, name: string, number: number) => sql`
  update mayfly.layer_version version set deleted_at = clock_timestamp()
    from mayfly.layer join mayfly.project on project.id = layer.project_id
   where project.ref = ${ref} and layer.name = ${name} and version.layer_id = layer.id and version.number = ${number} and version.deleted_at is null`

/** @returns whether the policy was still the one that was read */
export const savePolicy = async (sql: Query, id: string, policy: readonly Statement[], revisionId: string, expected: string): Promise<boolean> =>
  (
    await sql`
      update mayfly.layer_version set policy = ${JSON.stringify(policy)}::jsonb, policy_revision_id = ${revisionId}
       where id = ${id} and policy_revision_id = ${expected} and deleted_at is null returning id`
  ).length === 1

/** Deleted versions that no version of a function uses any more. */
export const deleteHiddenLayerVersions = (sql: Query, olderThanSeconds: number) => sql`
  delete from mayfly.layer_version version
   where deleted_at < clock_timestamp() - ${olderThanSeconds} * interval '1 second'
     and not exists (select from mayfly.function_version_layer used where used.layer_version_id = version.id)`

/** The artefacts in each /opt that a version of a function has, each list once. */
export const usedLists = (sql: Query) => sql<{ project: ProjectRef; artefacts: string[] }>`
  select distinct project.ref as project, array_agg(version.artefact order by used.position) as artefacts
    from mayfly.function_version_layer used
    join mayfly.layer_version version on version.id = used.layer_version_id
    join mayfly.project on project.id = version.project_id
   group by used.version_id, project.ref`
