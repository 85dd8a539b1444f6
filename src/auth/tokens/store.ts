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

export interface LegacyRow {
  readonly projectId: string
  readonly secret: Buffer
  readonly issuedAt: string
  readonly anonKey: Buffer | null
  readonly serviceKey: Buffer | null
}

export const selectLegacySecret = (sql: Ask, ref: ProjectRef) => sql<LegacyRow>`
  select project_id as "projectId", secret, issued_at as "issuedAt", anon_key as "anonKey", service_key as "serviceKey"
    from mayfly.legacy_secret join mayfly.project on project.id = project_id
   where project.ref = ${ref} and project.state = 'active'`

export const selectLegacySecretOf = (sql: Ask, projectId: string) => sql<LegacyRow>`
  select project_id as "projectId", secret, issued_at as "issuedAt", anon_key as "anonKey", service_key as "serviceKey"
    from mayfly.legacy_secret where project_id = ${projectId}`

/** Nothing where there is one already. */
export const insertLegacySecret = (
  tx: Tx,
  row: { projectId: string; secret: Buffer; issuedAt: number; anonKey: Buffer | null; serviceKey: Buffer | null },
) => tx`
  insert into mayfly.legacy_secret (project_id, secret, issued_at, anon_key, service_key)
  values (${row.projectId}, ${row.secret}, ${row.issuedAt}, ${row.anonKey}, ${row.serviceKey})
  on conflict (project_id) do nothing`

export const deleteLegacySecret = (tx: Tx, projectId: string) => tx<{ id: string }>`
  delete from mayfly.legacy_secret where project_id = ${projectId} returning project_id as id`

export interface IssuerRow {
  readonly issuer: string
  readonly audience: string
  readonly jwksUrl: string
  readonly createdAt: Date
}

export const selectIssuers = (sql: Ask, ref: ProjectRef) => sql<IssuerRow>`
  select issuer, audience, jwks_url as "jwksUrl", trusted_issuer.created_at as "createdAt"
    from mayfly.trusted_issuer join mayfly.project on project.id = project_id
   where project.ref = ${ref} and project.state = 'active' order by issuer`

export const upsertIssuer = (tx: Tx, projectId: string, { issuer, audience, jwksUrl }: Omit<IssuerRow, 'createdAt'>) => tx`
  insert into mayfly.trusted_issuer (project_id, issuer, audience, jwks_url) values (${projectId}, ${issuer}, ${audience}, ${jwksUrl})
  on conflict (project_id, issuer) do update set audience = excluded.audience, jwks_url = excluded.jwks_url`

export const deleteIssuer = (tx: Tx, projectId: string, issuer: string) => tx<{ issuer: string }>`
  delete from mayfly.trusted_issuer where project_id = ${projectId} and issuer = ${issuer} returning issuer`
