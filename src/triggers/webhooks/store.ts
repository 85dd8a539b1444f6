import type { Sql } from '../../backends/database/database.ts'

export interface WebhookTrigger {
  readonly functionId: string
  readonly functionName: string
  readonly definition: unknown
}

/** The one of an address, unless it rests. index: trigger_project */
export const selectWebhookTrigger = async (sql: Sql, projectId: string, functionName: string, name: string): Promise<WebhookTrigger | null> =>
  (
    await sql<WebhookTrigger>`
      select function_id as "functionId", function_name as "functionName", definition from mayfly.trigger
       where project_id = ${projectId} and function_name = ${functionName} and kind = 'webhook' and function_id is not null
         and definition -> 'webhook' ->> 'name' = ${name} and definition -> 'enabled' is null`
  )[0] ?? null
