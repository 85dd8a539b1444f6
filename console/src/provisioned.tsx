import type { FunctionInfo } from './api.ts'
import { count } from './format.ts'
import { Badge } from './parts.tsx'
import { t } from './text.ts'

/** How it stands with the sandboxes that are kept loaded, and why they are not there. */
export function Provisioned({ of }: { of: NonNullable<FunctionInfo['provisionedNow']> }) {
  return (
    <>
      {count(of.available)} / {count(of.requested)} <Badge kind={of.status === 'READY' ? 'good' : of.status === 'FAILED' ? 'bad' : 'plain'}>{of.status}</Badge>
      {of.reason !== null && ` ${of.detail === undefined ? of.reason : `${t('The code does not load:')} ${of.detail}`}`}
    </>
  )
}
