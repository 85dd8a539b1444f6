import type { Sql, Tx } from '../backends/database/database.ts'
import type { ProjectRef } from '../core/project.ts'

type Ask = Sql | Tx
export type KeyKind = 'publishable' | 'secret'
export interface ApiKeyRow {
  readonly id: string
  readonly projectId: string
  readonly ref: ProjectRef
  readonly kind: KeyKind
  readonly value: Buffer
}
export interface AccessKeyRow {
  readonly id: string
  readonly projectId: string
  readonly ref: ProjectRef
  readonly secret: Buffer
}

export const insertApiKey = (tx: Tx, key: { id: string; projectId: string; kind: KeyKind; hash: Buffer; value: Buffer }) => tx`
  insert into mayfly.api_key (id, project_id, kind, hash, value) values (${key.id}, ${key.projectId}, ${key.kind}, ${key.hash}, ${key.value})`

export const insertAccessKey = (tx: Tx, key: { id: string; projectId: string; secret: Buffer }) => tx`
  insert into mayfly.access_key (id, project_id, secret) values (${key.id}, ${key.projectId}, ${key.secret})`

// index: api_key_hash_key
export const selectApiKeyByHash = (sql: Ask, hash: Buffer) => sql<ApiKeyRow>`
  select key.id, key.project_id as "projectId", project.ref, key.kind, key.value
    from mayfly.api_key as key join mayfly.project as project on project.id = key.project_id
   where key.hash = ${hash} and project.state = 'active'`

export const selectApiKeys = (sql: Ask, projectId: string) => sql<ApiKeyRow>`
  select key.id, key.project_id as "projectId", project.ref, key.kind, key.value
    from mayfly.api_key as key join mayfly.project as project on project.id = key.project_id
   where key.project_id = ${projectId} order by key.created_at`

export const selectAccessKey = (sql: Ask, id: string) => sql<AccessKeyRow>`
  select key.id, key.project_id as "projectId", project.ref, key.secret
    from mayfly.access_key as key join mayfly.project as project on project.id = key.project_id
   where key.id = ${id} and project.state = 'active'`

export const selectAccessKeys = (sql: Ask, projectId: string) => sql<AccessKeyRow>`
  select key.id, key.project_id as "projectId", project.ref, key.secret
    from mayfly.access_key as key join mayfly.project as project on project.id = key.project_id
   where key.project_id = ${projectId} order by key.created_at`
