import type { Sql, Tx } from '../../backends/database/database.ts'

type Query = Sql | Tx

export interface BusTrigger {
  readonly functionId: string
  readonly functionName: string
  readonly kind: 'bus' | 'topic'
  readonly definition: unknown
}

/** Those that wait for events of a bus, or for messages of the topic that is the bus of its name; each of a function that is there. index: trigger_project */
export const selectBusTriggers = (sql: Query, projectId: string, bus: string) => sql<BusTrigger>`
  select function_id as "functionId", function_name as "functionName", kind, definition from mayfly.trigger
   where project_id = ${projectId} and kind in ('bus', 'topic') and function_id is not null
     and definition -> kind ->> 'name' = ${bus} and definition -> 'enabled' is null
   order by created_at, id`

/**
 * Whoever comes with the same key meanwhile waits, and then finds it taken or free. In one order for all, so that no two wait for each other.
 * @param keys  digests in hexadecimal, each once
 * @returns those that nobody came with within the window
 */
export const takeEventKeys = async (tx: Tx, projectId: string, keys: readonly string[], windowSeconds: number): Promise<Set<string>> =>
  new Set(
    (
      await tx<{ key: string }>`
        insert into mayfly.bus_event as seen (project_id, key, seen_at)
        select ${projectId}, decode(key, 'hex'), clock_timestamp() from unnest(${keys}::text[]) as come (key) order by 2
        on conflict (project_id, key) do update set seen_at = excluded.seen_at
          where seen.seen_at < clock_timestamp() - ${windowSeconds} * interval '1 second'
        returning encode(key, 'hex') as key`
    ).map(({ key }) => key),
  )

/** index: bus_event_seen */
export const deleteOldEventKeys = (sql: Query, windowSeconds: number) => sql`
  delete from mayfly.bus_event where seen_at < clock_timestamp() - ${windowSeconds} * interval '1 second'`
