import type { Sql } from '../../backends/database/database.ts'
import type { ProjectRef } from '../../core/project.ts'

/** Those that do not rest, of functions that are there, the newest first. index: trigger_project */
export const selectRoutes = (sql: Sql, ref: ProjectRef) => sql<{ functionName: string; definition: unknown }>`
  select function_name as "functionName", definition
    from mayfly.project join mayfly.trigger on trigger.project_id = project.id
   where project.ref = ${ref} and kind = 'http' and function_id is not null and definition -> 'enabled' is null
   order by trigger.created_at desc, trigger.id desc`
