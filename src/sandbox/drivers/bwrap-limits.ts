import type { Hierarchies } from '../../lib/cgroup.ts'
import { hasNetworks, type Networks, type NoNetworks } from '../egress/networks.ts'
import type { OwnLimits } from './own-limits.ts'

/** How this host bounds sandboxes of bubblewrap. */
export interface BwrapHost {
  /** Null where this node has no control groups to give. */
  readonly groups: Hierarchies | null
  /** The kernel counts the processes of a user namespace for itself. */
  readonly countsProcesses: boolean
  readonly own: OwnLimits
}

interface Holding {
  readonly limits: readonly string[]
  readonly missing: readonly { what: string; why: string; todo: string }[]
}

const ALWAYS = ['namespaces', 'seccomp', 'no-capabilities', 'read-only-root', 'tmp-size', 'open-files', 'time']
const DELEGATE =
  'Start the node as a service of systemd with `Delegate=yes` (`systemd-run --user --scope -p Delegate=yes npm start`), or as root (`sudo npm start`).'

/** What the kernel holds of sandboxes of bubblewrap on this host, and what it does not. */
export function bwrapHolds({ groups, countsProcesses, own }: BwrapHost, asRoot: boolean, networks: Networks | NoNetworks): Holding {
  const limits = [...ALWAYS]
  const missing = [...own.missing]
  if (asRoot) limits.push('uid-own')
  else
    missing.push({ what: 'uid-own', why: 'outside, sandboxes of an ordinary user have that user’s id', todo: 'Start the node as root, for ids of their own.' })
  const why = (what: string) => (groups ? `this node was given no cgroup controller for ${what}` : 'this node has no control groups of its own')
  if (groups?.memory) limits.push('memory')
  else missing.push({ what: 'memory', why: `${why('memory')}; the node looks at memory instead, and ends what takes more`, todo: DELEGATE })
  if (groups?.pids || countsProcesses) limits.push('pids')
  else missing.push({ what: 'pids', why: `${why('pids')}, and kernels before 5.14 count processes by user alone`, todo: DELEGATE })
  if (groups?.cpu) limits.push('cpu-weight')
  else missing.push({ what: 'cpu-weight', why: why('cpu'), todo: DELEGATE })
  if (hasNetworks(networks)) {
    limits.push('egress')
    missing.push(...networks.doubts)
  } else missing.push({ what: 'egress', ...networks })
  return { limits, missing }
}
