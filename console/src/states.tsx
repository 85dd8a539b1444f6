import type { DeadLetter, LifeInfo } from './api.ts'
import { Badge } from './parts.tsx'
import { type Text, t } from './text.ts'

export const REASONS: Readonly<Record<DeadLetter['reason'], Text>> = {
  attempts: 'all attempts failed',
  age: 'too old',
  node: 'ended the node again and again',
  function_gone: 'its function is gone',
  recursion: 'a loop of functions',
  destination: 'its outcome could not be told',
}

export const saysReason = (reason: string): string => (reason in REASONS ? t(REASONS[reason as DeadLetter['reason']]) : reason)

/** Where a call may stand, in the order of its life. */
export const STATES = ['waiting', 'held', 'paused', 'running', 'retrying', 'succeeded', 'dead'] as const satisfies readonly LifeInfo['status'][]
export type CallState = (typeof STATES)[number]

const KINDS: Readonly<Record<LifeInfo['status'], 'good' | 'bad' | 'warn' | 'plain'>> = {
  waiting: 'plain',
  held: 'plain',
  paused: 'warn',
  running: 'good',
  retrying: 'warn',
  succeeded: 'good',
  failed: 'bad',
  dead: 'bad',
}

export const StateBadge = ({ of }: { of: LifeInfo['status'] }) => <Badge kind={KINDS[of]}>{t(of)}</Badge>

export const OutcomeBadge = ({ of }: { of: string | null }) => (
  <Badge kind={of === null || of === 'refused' ? 'warn' : of === 'ok' ? 'good' : 'bad'}>
    {of === null ? t('running') : of === 'ok' || of === 'error' || of === 'timeout' || of === 'exit' || of === 'cut' || of === 'refused' ? t(of) : of}
  </Badge>
)

/** An error as its type and its words, the rest of long ones out of sight. */
export const ErrorText = ({ type, message }: { type?: string | null | undefined; message?: string | null | undefined }) => (
  <>
    {type && <code>{type}</code>} {message && <span className="clip">{message}</span>}
  </>
)
