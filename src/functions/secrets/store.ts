import type { Sql, Tx } from '../../backends/database/database.ts'
import type { ProjectRef } from '../../core/project.ts'

export interface SecretRow {
  readonly projectId: string
  readonly name: string
  readonly value: Uint8Array
  readonly createdAt: Date
  readonly modifiedAt: Date
}

/** In the order of their names as bytes. */
export const secretsOf = (sql: Sql | Tx, ref: ProjectRef) => sql<SecretRow>`
  select secret.project_id as "projectId", secret.name, secret.value, secret.created_at as "createdAt", secret.modified_at as "modifiedAt"
    from mayfly.project join mayfly.secret on secret.project_id = project.id
   where project.ref = ${ref}
   order by secret.name collate "C"`

export const saveSecret = (tx: Tx, projectId: string, name: string, value: Uint8Array) => tx`
  insert into mayfly.secret (project_id, name, value) values (${projectId}, ${name}, ${value})
  on conflict (project_id, name) do update set value = excluded.value, modified_at = clock_timestamp()`

/** The names of those that were there. */
export const deleteSecrets = (tx: Tx, projectId: string, names: readonly string[]) => tx<{ name: string }>`
  delete from mayfly.secret where project_id = ${projectId} and name = any(${[...names]}::text[]) returning name`
