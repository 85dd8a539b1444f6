import type { Sql, Tx } from '../../backends/database/database.ts'
import type { ProjectRef } from '../../core/project.ts'
import type { ActiveSource, EventInvoke, EventSource, RecursiveLoop, RuntimeManagement, StoredEventInvoke } from './types.ts'

type Query = Sql | Tx

/** Keeps others from changing what belongs to the function until the transaction ends. False when it is gone. */
export const lockFunction = async (tx: Tx, id: string): Promise<boolean> => (await tx`select id from mayfly.function where id = ${id} for update`).length === 1

/** Of the function itself, a version or an alias; null when it is gone. */
export const selectRevision = async (tx: Tx, id: string, qualifier: string): Promise<string | null> =>
  (
    await tx<{ revisionId: string }>`
      select revision_id as "revisionId" from mayfly.function where id = ${id} and ${qualifier} = '$LATEST'
      union all
      select revision_id from mayfly.published_version where function_id = ${id} and number::text = ${qualifier}
      union all
      select revision_id from mayfly.function_alias where function_id = ${id} and name = ${qualifier}`
  )[0]?.revisionId ?? null

export const saveRevision = async (tx: Tx, id: string, qualifier: string, revisionId: string): Promise<void> => {
  await tx`update mayfly.function set revision_id = ${revisionId} where id = ${id} and ${qualifier} = '$LATEST'`
  await tx`update mayfly.published_version set revision_id = ${revisionId} where function_id = ${id} and number::text = ${qualifier}`
  await tx`update mayfly.function_alias set revision_id = ${revisionId} where function_id = ${id} and name = ${qualifier}`
}

export const selectPolicy = async (sql: Query, functionId: string, qualifier: string): Promise<string | null> =>
  (await sql<{ document: string }>`select document from mayfly.function_policy where function_id = ${functionId} and qualifier = ${qualifier}`)[0]?.document ??
  null

export const savePolicy = (tx: Tx, functionId: string, qualifier: string, document: string) => tx`
  insert into mayfly.function_policy (function_id, qualifier, document) values (${functionId}, ${qualifier}, ${document})
  on conflict (function_id, qualifier) do update set document = excluded.document`

export const deletePolicy = (tx: Tx, functionId: string, qualifier: string) => tx`
  delete from mayfly.function_policy where function_id = ${functionId} and qualifier = ${qualifier}`

export const selectEventInvokes = (sql: Query, functionId: string, qualifier: string | null, after: string, limit: number) => sql<StoredEventInvoke>`
  select qualifier, max_retries as "maxRetries", max_age_seconds as "maxAgeSeconds", on_success as "onSuccess", on_failure as "onFailure",
         modified_at as "modifiedAt"
    from mayfly.function_event_invoke
   where function_id = ${functionId} and (${qualifier}::text is null or qualifier = ${qualifier}) and qualifier collate "C" > ${after}
   order by qualifier collate "C" limit ${limit}`

export const saveEventInvoke = (tx: Tx, functionId: string, qualifier: string, wanted: EventInvoke) => tx`
  insert into mayfly.function_event_invoke (function_id, qualifier, max_retries, max_age_seconds, on_success, on_failure)
  values (${functionId}, ${qualifier}, ${wanted.maxRetries}, ${wanted.maxAgeSeconds}, ${wanted.onSuccess}, ${wanted.onFailure})
  on conflict (function_id, qualifier) do update
     set max_retries = excluded.max_retries, max_age_seconds = excluded.max_age_seconds, on_success = excluded.on_success,
         on_failure = excluded.on_failure, modified_at = clock_timestamp()`

export const deleteEventInvoke = async (tx: Tx, functionId: string, qualifier: string): Promise<boolean> =>
  (await tx`delete from mayfly.function_event_invoke where function_id = ${functionId} and qualifier = ${qualifier} returning qualifier`).length === 1

/** As the Lambda API said; where it never did, as the definition does. */
export const selectLoop = async (sql: Query, functionId: string): Promise<RecursiveLoop> =>
  (
    await sql<{ loop: RecursiveLoop }>`
      select coalesce((select recursive_loop from mayfly.function_recursion where function_id = function.id),
                      (select 'Allow' from mayfly.function_version where id = version_id and definition -> 'async' ->> 'mayLoop' = 'true')) as loop
        from mayfly.function where function.id = ${functionId}`
  )[0]?.loop ?? 'Terminate'

/** The functions of a project that may loop. */
export const selectLoopers = (sql: Query, project: ProjectRef) => sql<{ name: string }>`
  select function.name from mayfly.function
    join mayfly.project on project.id = function.project_id
    left join mayfly.function_version as version on version.id = version_id
    left join mayfly.function_recursion as said on said.function_id = function.id
   where project.ref = ${project}
     and coalesce(recursive_loop, case when version.definition -> 'async' ->> 'mayLoop' = 'true' then 'Allow' end) = 'Allow'`

export const saveLoop = (tx: Tx, functionId: string, loop: RecursiveLoop) => tx`
  insert into mayfly.function_recursion (function_id, recursive_loop) values (${functionId}, ${loop})
  on conflict (function_id) do update set recursive_loop = excluded.recursive_loop`

export const selectRuntimeManagement = async (sql: Query, functionId: string, qualifier: string): Promise<RuntimeManagement | null> =>
  (
    await sql<RuntimeManagement>`
      select update_on as "updateOn", runtime_version_arn as "runtimeVersionArn" from mayfly.function_runtime_management
       where function_id = ${functionId} and qualifier = ${qualifier}`
  )[0] ?? null

export const saveRuntimeManagement = (tx: Tx, functionId: string, qualifier: string, wanted: RuntimeManagement) => tx`
  insert into mayfly.function_runtime_management (function_id, qualifier, update_on, runtime_version_arn)
  values (${functionId}, ${qualifier}, ${wanted.updateOn}, ${wanted.runtimeVersionArn})
  on conflict (function_id, qualifier) do update set update_on = excluded.update_on, runtime_version_arn = excluded.runtime_version_arn`

/** A version or alias is gone, and what was set for it. */
export const deleteQualifier = async (tx: Tx, functionId: string, qualifier: string): Promise<void> => {
  await tx`delete from mayfly.function_policy where function_id = ${functionId} and qualifier = ${qualifier}`
  await tx`delete from mayfly.function_event_invoke where function_id = ${functionId} and qualifier = ${qualifier}`
  await tx`delete from mayfly.function_runtime_management where function_id = ${functionId} and qualifier = ${qualifier}`
}

/** All that calls ask for, by the function's name; nothing when there is no such function. */
export const selectRemembered = async (sql: Query, project: ProjectRef, name: string) =>
  (
    await sql<{
      policies: { qualifier: string; document: string }[]
      eventInvokes: (EventInvoke & { qualifier: string })[]
      loop: RecursiveLoop | null
    }>`
      select coalesce((select json_agg(json_build_object('qualifier', qualifier, 'document', document))
                         from mayfly.function_policy where function_id = function.id), '[]') as policies,
             coalesce((select json_agg(json_build_object('qualifier', qualifier, 'maxRetries', max_retries, 'maxAgeSeconds', max_age_seconds,
                                                         'onSuccess', on_success, 'onFailure', on_failure))
                         from mayfly.function_event_invoke where function_id = function.id), '[]') as "eventInvokes",
             coalesce((select recursive_loop from mayfly.function_recursion where function_id = function.id),
                      (select 'Allow' from mayfly.function_version where id = version_id and definition -> 'async' ->> 'mayLoop' = 'true')) as loop
        from mayfly.function join mayfly.project on project.id = function.project_id
       where project.ref = ${project} and function.name = ${name}`
  )[0] ?? null

export interface SourceFilter {
  readonly functionName: string | null
  readonly qualifier: string | null
  readonly sourceArn: string | null
}

/** In the order of ids. index: event_source_mapping_project */
export const selectEventSources = (sql: Query, project: ProjectRef, filter: SourceFilter, after: string | null, limit: number) => sql<EventSource>`
  select mapping.id, function_name as "functionName", qualifier, source_arn as "sourceArn", enabled, settings, tags, mapping.modified_at as "modifiedAt"
    from mayfly.event_source_mapping mapping join mayfly.project on project.id = mapping.project_id
   where project.ref = ${project} and (${after}::uuid is null or mapping.id > ${after})
     and (${filter.functionName}::text is null or (function_name = ${filter.functionName} and qualifier is not distinct from ${filter.qualifier}::text))
     and (${filter.sourceArn}::text is null or source_arn = ${filter.sourceArn})
   order by mapping.id limit ${limit}`

export const selectEventSource = async (sql: Query, project: ProjectRef, id: string): Promise<EventSource | null> =>
  (
    await sql<EventSource>`
      select mapping.id, function_name as "functionName", qualifier, source_arn as "sourceArn", enabled, settings, tags, mapping.modified_at as "modifiedAt"
        from mayfly.event_source_mapping mapping join mayfly.project on project.id = mapping.project_id
       where project.ref = ${project} and mapping.id = ${id}`
  )[0] ?? null

/** The mappings of all projects to sources of a service that are to be read: their functions are there. */
export const selectActiveSources = (sql: Query, service: string) => sql<ActiveSource>`
  select mapping.id, project.ref as project, function.id as "functionId", function_name as "functionName", qualifier, source_arn as "sourceArn", mapping.settings
    from mayfly.event_source_mapping mapping join mayfly.project on project.id = mapping.project_id
    join mayfly.function on function.project_id = mapping.project_id and function.name = function_name
   where mapping.enabled and project.state = 'active' and split_part(source_arn, ':', 3) = ${service}`

export const countEventSources = async (tx: Tx, projectId: string): Promise<number> =>
  Number((await tx<{ n: string }>`select count(*) as n from mayfly.event_source_mapping where project_id = ${projectId}`)[0]?.n ?? 0)

/** One at a time makes mappings in a project, so that no two are the same. */
export const lockProject = async (tx: Tx, ref: ProjectRef): Promise<string | null> =>
  (await tx<{ id: string }>`select id from mayfly.project where ref = ${ref} and state <> 'deleting' for update`)[0]?.id ?? null

export const saveEventSource = (tx: Tx, projectId: string, source: Omit<EventSource, 'modifiedAt'>) => tx`
  insert into mayfly.event_source_mapping (id, project_id, function_name, qualifier, source_arn, enabled, settings, tags)
  values (${source.id}, ${projectId}, ${source.functionName}, ${source.qualifier}, ${source.sourceArn}, ${source.enabled},
          ${JSON.stringify(source.settings)}::jsonb, ${JSON.stringify(source.tags)}::jsonb)
  on conflict (id) do update
     set function_name = excluded.function_name, qualifier = excluded.qualifier, enabled = excluded.enabled, settings = excluded.settings,
         tags = excluded.tags, modified_at = clock_timestamp()`

export const deleteEventSource = (tx: Tx, projectId: string, id: string) => tx`
  delete from mayfly.event_source_mapping where project_id = ${projectId} and id = ${id}`

/** How many functions a project has, and how large the code is of all that can be called by itself, and the layers that can be named. */
export const selectCodeUsage = async (sql: Query, ref: ProjectRef): Promise<{ functions: number; codeBytes: number }> => {
  const [row] = await sql<{ functions: string; bytes: string }>`
    with own as (
      select function.id, function.version_id from mayfly.function join mayfly.project on project.id = function.project_id where project.ref = ${ref})
    select (select count(*) from own) as functions,
           (select coalesce(sum(version.code_bytes), 0) from mayfly.function_version version
             where version.id in (select version_id from own
                                  union all
                                  select published.version_id from mayfly.published_version published join own on own.id = published.function_id))
           + (select coalesce(sum(layer.code_bytes), 0) from mayfly.layer_version layer join mayfly.project on project.id = layer.project_id
               where project.ref = ${ref} and layer.deleted_at is null) as bytes`
  return { functions: Number(row?.functions ?? 0), codeBytes: Number(row?.bytes ?? 0) }
}
