import type { Sql } from '../../backends/database/database.ts'
import type { ProjectRef } from '../../core/project.ts'

interface ConsumerRow {
  readonly id: string
  readonly project: ProjectRef
  readonly functionId: string
  readonly functionName: string
}

export interface TriggerConsumerRow extends ConsumerRow {
  readonly definition: unknown
}

/** The triggers of queues that are wanted now. */
export const selectQueueTriggers = (sql: Sql) => sql<TriggerConsumerRow>`
  select trigger.id, project.ref as project, function_id as "functionId", function_name as "functionName", definition
    from mayfly.trigger join mayfly.project on project.id = project_id
   where kind = 'queue' and project.state = 'active' and (definition ->> 'enabled') is distinct from 'false' and function_id is not null`
