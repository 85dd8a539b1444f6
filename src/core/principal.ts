import type { ProjectRef } from './project.ts'

/** Who a request acts as. Every request resolves to exactly one. */
export type Principal =
  | { readonly kind: 'operator'; readonly id: string }
  | { readonly kind: 'service'; readonly project: ProjectRef; readonly keyId: string }
  | { readonly kind: 'anon'; readonly project: ProjectRef; readonly keyId: string }
  | { readonly kind: 'access-key'; readonly project: ProjectRef; readonly keyId: string }
  | { readonly kind: 'function'; readonly project: ProjectRef; readonly functionName: string; readonly version: string; readonly role: FunctionRole }
  | { readonly kind: 'nobody' }

/** The role that a function's own calls to the platform act in (`role` in mayfly.json). */
export type FunctionRole = 'service_role' | 'authenticated' | 'none'

/** A short name for logs and audit: says who, never what they know. */
export function describePrincipal(principal: Principal): string {
  switch (principal.kind) {
    case 'operator':
      return `operator:${principal.id}`
    case 'service':
    case 'anon':
    case 'access-key':
      return `${principal.kind}:${principal.project}/${principal.keyId}`
    case 'function':
      return `function:${principal.project}/${principal.functionName}/${principal.version}`
    case 'nobody':
      return 'nobody'
  }
}
