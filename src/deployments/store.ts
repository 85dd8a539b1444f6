import type { Sql, Tx } from '../backends/database/database.ts'
import type { ProjectRef } from '../core/project.ts'

type Query = Sql | Tx

export type PartKind = 'function' | 'bucket' | 'site' | 'queue'
export type DeploymentState = 'applying' | 'reached' | 'failed'
export interface Part {
  readonly kind: PartKind
  readonly name: string
}

export interface DeploymentRow {
  id: string
  projectId: string
  project: ProjectRef
  name: string
  document: Buffer
  version: string
  reached: string
  state: DeploymentState
  error: string | null
  createdAt: Date
  modifiedAt: Date
}

export const projectId = async (sql: Query, ref: ProjectRef): Promise<string | null> =>
  (await sql<{ id: string }>`select id from mayfly.project where ref = ${ref} and state <> 'deleting'`)[0]?.id ?? null

export const findDeployment = async (sql: Query, ref: ProjectRef, name: string): Promise<DeploymentRow | null> =>
  (
    await sql<DeploymentRow>`
      select deployment.id, deployment.project_id as "projectId", project.ref as project, deployment.name, deployment.document, deployment.version,
             deployment.reached, deployment.state, deployment.error, deployment.created_at as "createdAt", deployment.modified_at as "modifiedAt"
        from mayfly.deployment join mayfly.project on project.id = deployment.project_id
       where project.ref = ${ref} and deployment.name = ${name}`
  )[0] ?? null

export const deploymentById = async (sql: Query, id: string): Promise<DeploymentRow | null> =>
  (
    await sql<DeploymentRow>`
      select deployment.id, deployment.project_id as "projectId", project.ref as project, deployment.name, deployment.document, deployment.version,
             deployment.reached, deployment.state, deployment.error, deployment.created_at as "createdAt", deployment.modified_at as "modifiedAt"
        from mayfly.deployment join mayfly.project on project.id = deployment.project_id
       where deployment.id = ${id} and project.state = 'active'`
  )[0] ?? null

export const listDeployments = (sql: Query, ref: ProjectRef) => sql<Omit<DeploymentRow, 'document'>>`
  select deployment.id, deployment.project_id as "projectId", project.ref as project, deployment.name, deployment.version,
         deployment.reached, deployment.state, deployment.error, deployment.created_at as "createdAt", deployment.modified_at as "modifiedAt"
    from mayfly.deployment join mayfly.project on project.id = deployment.project_id
   where project.ref = ${ref} order by deployment.name collate "C"`

export const unfinishedDeployments = (sql: Query) => sql<{ id: string }>`select id from mayfly.deployment where state = 'applying'`

/** Makes it, or gives what is there; either way nobody else changes it until the transaction ends. */
export const lockDeployment = async (tx: Tx, row: { id: string; project: string; name: string; document: Buffer }) => {
  const [made] = await tx<{ id: string; document: Buffer; version: string; isNew: boolean }>`
    insert into mayfly.deployment (id, project_id, name, document, state) values (${row.id}, ${row.project}, ${row.name}, ${row.document}, 'applying')
    on conflict (project_id, name) do update set modified_at = deployment.modified_at
    returning id, document, version, id = ${row.id}::uuid as "isNew"`
  return made as { id: string; document: Buffer; version: string; isNew: boolean }
}

/** Another document, or null: the same is to be reached again. */
export const beginDeployment = async (tx: Tx, id: string, document: Buffer | null): Promise<number> => {
  const [row] = await tx<{ version: string }>`
    update mayfly.deployment
       set document = coalesce(${document}::bytea, document), version = version + case when ${document}::bytea is null then 0 else 1 end,
           state = 'applying', error = null, modified_at = clock_timestamp()
     where id = ${id} returning version`
  return Number(row?.version)
}

/** Claims parts for a deployment. @returns those that another one owns, with its name */
export const claimParts = async (tx: Tx, project: string, deployment: string, parts: readonly Part[]) => {
  const wanted = JSON.stringify(parts)
  await tx`
    insert into mayfly.deployment_part (project_id, kind, name, deployment_id)
    select ${project}::uuid, part.kind, part.name, ${deployment}::uuid from jsonb_to_recordset(${wanted}::jsonb) as part (kind text, name text)
    order by part.kind, part.name
    on conflict (project_id, kind, name) do nothing`
  return await foreignParts(tx, project, deployment, parts)
}

/** @param deployment  null for one that is not there yet */
export const foreignParts = (sql: Query, project: string, deployment: string | null, parts: readonly Part[]) => sql<Part & { owner: string }>`
  select part.kind, part.name, owner.name as owner
    from mayfly.deployment_part part
    join jsonb_to_recordset(${JSON.stringify(parts)}::jsonb) as wanted (kind text, name text) on wanted.kind = part.kind and wanted.name = part.name
    join mayfly.deployment owner on owner.id = part.deployment_id
   where part.project_id = ${project} and part.deployment_id is distinct from ${deployment}::uuid
   order by part.kind, part.name`

export const partsOf = (sql: Query, deployment: string) => sql<Part>`
  select kind, name from mayfly.deployment_part where deployment_id = ${deployment} order by kind, name`

export const releasePart = (sql: Query, deployment: string, part: Part) => sql`
  delete from mayfly.deployment_part where deployment_id = ${deployment} and kind = ${part.kind} and name = ${part.name}`

/** Only what is still wanted: a newer document is not said to be reached. */
export const endDeployment = (sql: Query, id: string, version: number, state: Exclude<DeploymentState, 'applying'>, error: string | null) => sql`
  update mayfly.deployment set state = ${state}, error = ${error}, reached = case when ${state} = 'reached' then version else reached end,
         modified_at = clock_timestamp()
   where id = ${id} and version = ${version} and state = 'applying'`

export const noteError = (sql: Query, id: string, error: string) => sql`
  update mayfly.deployment set error = ${error} where id = ${id} and state = 'applying'`
