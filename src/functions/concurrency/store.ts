import type { Sql, Tx } from '../../backends/database/database.ts'
import type { ProjectRef } from '../../core/project.ts'

type Query = Sql | Tx

export interface Reservation {
  readonly functionId: string
  readonly project: ProjectRef
  readonly reserved: number
}

export const selectReservations = (sql: Query) => sql<Reservation>`
  select function_id as "functionId", project.ref as project, reserved
    from mayfly.function_concurrency
    join mayfly.function on function.id = function_id
    join mayfly.project on project.id = function.project_id`

export const countProjectsWithFunctions = async (sql: Query): Promise<number> =>
  (await sql<{ projects: number }>`select count(distinct project_id)::int as projects from mayfly.function`)[0]?.projects ?? 0

export const selectReserved = async (sql: Query, functionId: string): Promise<number | null> =>
  (await sql<{ reserved: number }>`select reserved from mayfly.function_concurrency where function_id = ${functionId}`)[0]?.reserved ?? null

export const upsertReserved = (tx: Tx, functionId: string, reserved: number) => tx`
  insert into mayfly.function_concurrency (function_id, reserved) values (${functionId}, ${reserved})
  on conflict (function_id) do update set reserved = excluded.reserved`

export const deleteReserved = (tx: Tx, functionId: string) => tx`delete from mayfly.function_concurrency where function_id = ${functionId}`

/** What the functions of a project reserve together, and what those without a reservation have provisioned; one function left out of both. */
export const sumsOf = async (sql: Query, project: ProjectRef, exceptFunctionId: string | null): Promise<{ reserved: number; provisioned: number }> => {
  const [sums] = await sql<{ reserved: string; provisioned: string }>`
    select coalesce(sum(reserved), 0) as reserved,
           coalesce(sum((select sum(requested) from mayfly.provisioned_concurrency config where config.function_id = function.id))
             filter (where reserved is null), 0) as provisioned
      from mayfly.project
      join mayfly.function on function.project_id = project.id
      left join mayfly.function_concurrency on function_id = function.id
     where project.ref = ${project} and (${exceptFunctionId}::uuid is null or function.id <> ${exceptFunctionId}::uuid)`
  return { reserved: Number(sums?.reserved ?? 0), provisioned: Number(sums?.provisioned ?? 0) }
}

export interface Provisioning {
  readonly functionId: string
  readonly qualifier: string
  readonly requested: number
  readonly modifiedAt: Date
}

/** Of one function, the oldest first. */
export const selectProvisionings = (sql: Query, functionId: string) => sql<Provisioning>`
  select function_id as "functionId", qualifier, requested, modified_at as "modifiedAt"
    from mayfly.provisioned_concurrency where function_id = ${functionId} order by modified_at, qualifier`

/** Of all functions, the oldest first: they came first to their memory. */
export const selectAllProvisionings = (sql: Query) => sql<Provisioning & { readonly project: ProjectRef; readonly functionName: string }>`
  select function_id as "functionId", qualifier, requested, provisioned_concurrency.modified_at as "modifiedAt", project.ref as project,
         function.name as "functionName"
    from mayfly.provisioned_concurrency
    join mayfly.function on function.id = function_id
    join mayfly.project on project.id = function.project_id
   where project.state = 'active'
   order by provisioned_concurrency.modified_at, function_id, qualifier`

export const upsertProvisioning = (tx: Tx, functionId: string, qualifier: string, requested: number) => tx<{ modifiedAt: Date }>`
  insert into mayfly.provisioned_concurrency (function_id, qualifier, requested) values (${functionId}, ${qualifier}, ${requested})
  on conflict (function_id, qualifier) do update set requested = excluded.requested, modified_at = clock_timestamp()
  returning modified_at as "modifiedAt"`

export const deleteProvisioning = (tx: Query, functionId: string, qualifier: string) => tx<{ qualifier: string }>`
  delete from mayfly.provisioned_concurrency where function_id = ${functionId} and qualifier = ${qualifier} returning qualifier`

/** What is said of a project. */
export interface ProjectShare {
  /** Calls at once; null: as the node's setting says. */
  readonly concurrency: number | null
  /** How much of a full node it has beside others. */
  readonly weight: number
}

export const selectProjectShares = (sql: Query) => sql<ProjectShare & { readonly project: ProjectRef }>`
  select project.ref as project, concurrency, weight
    from mayfly.project_concurrency
    join mayfly.project on project.id = project_id`

export const selectProjectShare = async (sql: Query, project: ProjectRef): Promise<ProjectShare | null> =>
  (
    await sql<ProjectShare>`
      select concurrency, weight from mayfly.project_concurrency join mayfly.project on project.id = project_id where project.ref = ${project}`
  )[0] ?? null

export const upsertProjectShare = (tx: Tx, project: ProjectRef, { concurrency, weight }: ProjectShare) => tx`
  insert into mayfly.project_concurrency (project_id, concurrency, weight)
  select id, ${concurrency}, ${weight} from mayfly.project where ref = ${project}
  on conflict (project_id) do update set concurrency = excluded.concurrency, weight = excluded.weight`
