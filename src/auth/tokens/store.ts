import type { JWK } from 'jose'
import type { Sql, Tx } from '../../backends/database/database.ts'
import type { ProjectRef } from '../../core/project.ts'

type Ask = Sql | Tx
export interface SigningKeyRow {
  readonly id: string
  readonly projectId: string
  readonly algorithm: 'ES256'
  readonly publicJwk: JWK
  readonly private: Buffer
  readonly state: 'current' | 'retired'
}

/** The one that signs first. */
// index: signing_key_project
export const selectSigningKeys = (sql: Ask, ref: ProjectRef) => sql<SigningKeyRow>`
  select key.id, key.project_id as "projectId", key.algorithm, key.public_jwk as "publicJwk", key.private, key.state
    from mayfly.signing_key as key join mayfly.project as project on project.id = key.project_id
   where project.ref = ${ref} and project.state = 'active'
   order by key.state, key.created_at desc`

export const selectProjectId = (sql: Ask, ref: ProjectRef) => sql<{ id: string }>`
  select id from mayfly.project where ref = ${ref} and state = 'active'`

/** Nothing where another one signs already. */
export const insertSigningKey = (tx: Tx, key: { id: string; projectId: string; publicJwk: string; sealed: Buffer }) => tx<{ id: string }>`
  insert into mayfly.signing_key (id, project_id, algorithm, public_jwk, private)
  values (${key.id}, ${key.projectId}, 'ES256', ${key.publicJwk}::jsonb, ${key.sealed})
  on conflict (project_id) where state = 'current' do nothing returning id`
