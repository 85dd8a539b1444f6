import type { Pool, SandboxInfo } from './api.ts'
import { count, duration } from './format.ts'
import { Badge, Table } from './parts.tsx'
import { hrefOf } from './route.ts'
import { t } from './text.ts'

/** The sandboxes of a project, or of one function of it: what each does, how often it did, and the memory it counts with. */
export function SandboxTable({ of, project, name }: { of: readonly SandboxInfo[]; project: string; name: string | null }) {
  const own = of.filter((one) => one.project === project && (name === null || one.functionName === name))
  if (own.length === 0) return <p>{t('None now: the next call starts one.')}</p>
  return (
    <Table
      label={t('Sandboxes')}
      rows={own.toSorted((a, b) => (a.functionName < b.functionName ? -1 : a.functionName > b.functionName ? 1 : 0))}
      keyOf={(one) => one.id}
      columns={[
        name === null
          ? { head: t('Function'), main: true, cell: (one) => <a href={hrefOf(project, 'functions', one.functionName)}>{one.functionName}</a> }
          : { head: t('Sandbox'), main: true, cell: (one) => one.id },
        { head: t('Version'), cell: (one) => one.version },
        ...(name === null ? [{ head: t('Isolation'), cell: (one: SandboxInfo) => one.driver }] : []),
        {
          head: t('State'),
          cell: (one) => (
            <>
              <Badge kind={one.state === 'busy' ? 'good' : 'plain'}>{one.state}</Badge>
              {one.provisioned && ` ${t('kept loaded')}`}
            </>
          ),
        },
        { head: t('Unused for'), number: true, cell: (one) => (one.idleMs === null ? '–' : duration(one.idleMs)) },
        { head: t('Calls'), number: true, cell: (one) => count(one.calls) },
        // Beside a function's other cards there is no room for both.
        ...(name === null ? [{ head: t('Used'), number: true, cell: (one: SandboxInfo) => (one.usedMb === null ? '–' : `${count(one.usedMb)} MB`) }] : []),
        { head: t('Charged'), number: true, cell: (one) => `${count(one.memoryMb)} / ${count(one.limitMb)} MB` },
      ]}
    />
  )
}

/** What waits by runtime, and why others ended since the node started. */
export const saysWaiting = ({ waiting }: Pool): string => waiting.map((one) => `${one.runtime}: ${count(one.booted)} / ${count(one.wanted)}`).join(', ')
export const saysEnded = ({ ended }: Pool): string =>
  Object.entries(ended)
    .filter(([, times]) => times > 0)
    .map(([why, times]) => `${why} ${count(times)}`)
    .join(' · ') || t('none')
