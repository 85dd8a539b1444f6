import type { ProjectRef } from './project.ts'

/** Who a request acts as. Every request resolves to exactly one. */
export type Principal =
  | { readonly kind: 'operator'; readonly id: string }
  | { readonly kind: 'service'; readonly project: ProjectRef; readonly keyId: string }
  | { readonly kind: 'anon'; readonly project: ProjectRef; readonly keyId: string }
  /** A build server: it deploys to its project and does nothing else. */
  | { readonly kind: 'deployer'; readonly project: ProjectRef; readonly keyId: string }
  | { readonly kind: 'access-key'; readonly project: ProjectRef; readonly keyId: string }
  | { readonly kind: 'function'; readonly project: ProjectRef; readonly functionName: string; readonly version: string; readonly role: FunctionRole }
  /** An end user, by a token that the project believes. Its claims, the role among them, are what row-level security sees. */
  | {
      readonly kind: 'user'
      readonly project: ProjectRef
      readonly role: SqlRole
      /** Null for a token that names nobody. */
      readonly userId: string | null
      readonly claims: Readonly<Record<string, unknown>>
      readonly expiresAtMs: number
    }
  | { readonly kind: 'nobody' }

/** The roles of a project's database that a request may act in. */
export type SqlRole = 'anon' | 'authenticated' | 'service_role'

/** The role that a function's own calls to the platform act in (`role` in mayfly.json). */
export type FunctionRole = 'service_role' | 'authenticated' | 'none'
