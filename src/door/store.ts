import type { Sql, Tx } from '../backends/database/database.ts'
import type { Project } from '../core/project.ts'

type Ask = Sql | Tx

export const selectPassword = (sql: Ask, projectId: string) => sql<{ value: Buffer }>`
  select value from mayfly.database_password where project_id = ${projectId}`

/** Of two who make the first one at once, one has made it. */
export const insertPassword = (sql: Ask, row: { projectId: string; value: Buffer; verifier: string }) => sql`
  insert into mayfly.database_password (project_id, value, verifier) values (${row.projectId}, ${row.value}, ${row.verifier})
  on conflict (project_id) do nothing`

export const replacePassword = (sql: Ask, row: { projectId: string; value: Buffer; verifier: string }) => sql`
  insert into mayfly.database_password (project_id, value, verifier) values (${row.projectId}, ${row.value}, ${row.verifier})
  on conflict (project_id) do update set value = excluded.value, verifier = excluded.verifier, made_at = clock_timestamp()`

export const selectVerifier = (sql: Ask, ref: string) => sql<Project & { verifier: string }>`
  select project.id, project.ref, project.name, project.state, password.verifier
    from mayfly.database_password as password join mayfly.project as project on project.id = password.project_id
   where project.ref = ${ref} and project.state <> 'deleting'`
