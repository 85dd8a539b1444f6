import { createHash, createHmac } from 'node:crypto'

/** Concurrent tabs show one token within so long. */
export const REUSE_MS = 10_000

export interface RefreshToken {
  readonly hash: string
  readonly revoked: boolean
  /** The hash of the one before it in its session. */
  readonly parent: string | null
}

/** What becomes of a refresh token that is shown. */
export type Verdict =
  /** It ends, and the next one of its session is given out. */
  | { readonly kind: 'rotate' }
  /** The one that is good now is given out once more: its answer was lost, or tabs asked at once. */
  | { readonly kind: 'again'; readonly parent: string }
  /** Somebody has what he should not have: the session ends. */
  | { readonly kind: 'reused' }

/**
 * A session has one token that is good at a time, and the chain of those before it.
 * @param active  the good one of the same session; null when it was ended
 * @param revokedMs  how long ago the shown one was revoked
 */
export function judgeRefresh(shown: RefreshToken, active: RefreshToken | null, revokedMs: number): Verdict {
  if (!shown.revoked) return { kind: 'rotate' }
  if (active?.parent == null) return { kind: 'reused' }
  if (active.parent === shown.hash || revokedMs <= REUSE_MS) return { kind: 'again', parent: active.parent }
  return { kind: 'reused' }
}

export const hashOf = (token: string): string => createHash('sha256').update(token).digest('base64url')

/** What follows a token in its session. It comes out the same each time, so that it can be given again and be kept by its hash alone. */
export const nextToken = (secret: Uint8Array, session: string, parent: string): string =>
  createHmac('sha256', secret).update(`${session}/${parent}`).digest('base64url').slice(0, 32)
