import { existsSync } from 'node:fs'
import path from 'node:path'
import { type Hierarchies, sharesOf } from '../../lib/cgroup.ts'
import type { Network } from '../egress/network.ts'
import { type Guests, guestOf } from '../guests.ts'
import type { StartOptions } from '../types.ts'
import { POOL_MEMORY_MB, startingWeight } from './driver-options.ts'
import { environmentFor, firstProcess, INSIDE, MASKED, PLACE, PUBLIC_FOLDERS, UID } from './inside.ts'
import type { OciRuntime } from './oci-runtimes.ts'
import type { OwnLimits } from './own-limits.ts'
import { seccomp } from './seccomp.ts'
import { boundsHook } from './shown.ts'
import { tmpOptions } from './tmp-size.ts'

/** Where user ids of sandboxes begin on the host; each sandbox has 65,536 of its own. */
export const UID_BASE = 0x2000_0000
export const UID_RANGE = 65_536
export const UID_RANGES = 8_192

export interface OciPlace {
  readonly guests: Guests
  /** The read-only root that all share. */
  readonly root: string
  readonly bundle: string
  /** Which of the ranges of user ids is its own. */
  readonly range: number
  readonly network: Network | null
  readonly hierarchies: Hierarchies
  /** The group that it is to be put into; null where it begins in its groups. */
  readonly group: string | null
  readonly limits: OwnLimits['each']
}

/** How many processes of the host may be in the group of one. */
export const mostProcesses = ({ processes }: OciRuntime, { pids }: Pick<StartOptions, 'pids'>): number => pids * processes.each + processes.beside

/** What a program of the OCI runtime interface is told of a sandbox. */
export function ociConfig(runtime: OciRuntime, options: StartOptions, place: OciPlace): unknown {
  const { root, network, group } = place
  const { sharesKernel, inside, allowedToo } = runtime
  const map = [{ containerID: 0, hostID: UID_BASE + place.range * UID_RANGE, size: UID_RANGE }]
  const guest = guestOf(place.guests, options.runtime)
  return {
    ociVersion: '1.0.2',
    hostname: 'mayfly',
    root: { path: root, readonly: true },
    process: {
      terminal: false,
      user: { uid: UID, gid: UID },
      cwd: '/',
      env: Object.entries(environmentFor(options.runtime)).map(([name, value]) => `${name}=${value}`),
      args: inside(firstProcess(options.argv ? [PLACE.node, ...options.argv] : guest.command(PLACE), options.held ?? false)),
      capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
      noNewPrivileges: true,
      oomScoreAdj: 500,
      rlimits: Object.entries(place.limits).map(([name, most]) => ({ type: `RLIMIT_${name}`, hard: most, soft: most })),
    },
    mounts: mountsOf(options, place, guest.node, sharesKernel),
    ...(sharesKernel ? { hooks: { createContainer: [boundsHook] } } : {}),
    linux: {
      namespaces: [
        ...['pid', 'mount', 'ipc', 'uts', ...(sharesKernel ? ['user', 'cgroup'] : [])].map((type) => ({ type })),
        // The host's own: nobody inside may change anything in it.
        { type: 'network', ...(network === null ? {} : { path: network.path }) },
      ],
      ...(sharesKernel ? { uidMappings: map, gidMappings: map } : {}),
      ...(group === null ? {} : { cgroupsPath: `/${group}`, resources: resourcesOf(runtime, options, place.hierarchies) }),
      seccomp: { ...seccomp, syscalls: [...seccomp.syscalls, { names: allowedToo, action: 'SCMP_ACT_ALLOW' }] },
      rootfsPropagation: 'private',
      ...(sharesKernel
        ? {
            maskedPaths: MASKED,
            readonlyPaths: ['/proc/sys', '/proc/sysrq-trigger'],
          }
        : {}),
    },
  }
}

function mountsOf({ slotDir, tmpMb, cache }: StartOptions, { root, bundle }: OciPlace, node: string, sharesKernel: boolean) {
  // From below `/run` service managers let nothing be executed: in a user namespace no mount may take that back.
  const flags = (source: string) => (source.startsWith(`${path.dirname(root)}/`) ? ['ro', 'noexec'] : ['ro'])
  const bind = (source: string, destination: string) => ({ destination, type: 'bind', source, options: ['bind', 'nosuid', 'nodev', ...flags(source)] })
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=64k'] },
    { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=16m', 'nr_inodes=1k'] },
    { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: [...tmpOptions(tmpMb), 'mode=1777'] },
    ...PUBLIC_FOLDERS.map((folder) => bind(folder, folder)),
    bind(node, PLACE.node),
    ...(sharesKernel ? [bind(path.join(bundle, 'meminfo'), '/proc/meminfo')] : []),
    bind(slotDir, '/fn'),
    bind(path.join(slotDir, 'code'), INSIDE.code),
    bind(path.join(slotDir, 'opt'), INSIDE.opt),
    ...(cache === null
      ? []
      : [
          {
            destination: '/cache',
            type: 'tmpfs',
            source: 'tmpfs',
            // The folder itself counts too.
            options: ['nosuid', 'nodev', 'noexec', 'mode=1777', `size=${cache.bytes}`, `nr_inodes=${cache.files + 1}`],
          },
        ]),
  ]
}

function resourcesOf(runtime: OciRuntime, options: StartOptions, { memory, pids, cpu }: Hierarchies) {
  // What starts is weighed like a small function that runs: it must not starve those that do.
  const weight = startingWeight(options)
  const bytes = POOL_MEMORY_MB * 1024 * 1024
  const hasSwap = memory !== null && (memory.version === 2 || existsSync(path.join(memory.path, 'memory.memsw.limit_in_bytes')))
  return {
    devices: [{ allow: false, access: 'rwm' }],
    ...(memory ? { memory: { limit: bytes, ...(hasSwap ? { swap: bytes } : {}) } } : {}),
    ...(pids ? { pids: { limit: mostProcesses(runtime, options) } } : {}),
    // Of shares the runtimes make less than half of the weight that the second version means by them.
    ...(runtime.sharesKernel && cpu?.version === 2 ? { unified: { 'cpu.weight': String(Math.round(weight)) } } : { cpu: { shares: sharesOf(weight) } }),
  }
}
