import { writeFileSync } from 'node:fs'

/**
 * What `/proc/meminfo` says inside: a machine that has what the function may use. Programs size their caches by it. It is of the
 * same length for any size, so that one may be written over the other.
 * sysinfo(2) still tells the host's; without it the C library would take what lies on its stack for an answer.
 */
export function meminfoOf(memoryMb: number): string {
  const kb = memoryMb * 1024
  const rows: [string, number][] = [
    ['MemTotal', kb],
    ['MemFree', kb],
    ['MemAvailable', kb],
    ...[
      'Buffers',
      'Cached',
      'SwapCached',
      'Active',
      'Inactive',
      'Active(anon)',
      'Inactive(anon)',
      'Active(file)',
      'Inactive(file)',
      'Unevictable',
      'Mlocked',
    ].map((name): [string, number] => [name, 0]),
    ...['SwapTotal', 'SwapFree', 'Dirty', 'Writeback', 'AnonPages', 'Mapped', 'Shmem', 'Slab', 'SReclaimable', 'SUnreclaim', 'KernelStack', 'PageTables'].map(
      (name): [string, number] => [name, 0],
    ),
    ['CommitLimit', kb],
    ['Committed_AS', 0],
  ]
  return rows.map(([name, value]) => `${`${name}:`.padEnd(16)}${String(value).padStart(8)} kB\n`).join('')
}

/** That file of one sandbox. */
export class ShownMemory {
  readonly #file: string
  #mb: number | null = null

  constructor(file: string) {
    this.#file = file
  }

  /** Written over the former, at once: see there. */
  set(mb: number): void {
    if (this.#mb === mb) return
    writeFileSync(this.#file, meminfoOf(mb), { flag: 'r+' })
    this.#mb = mb
  }
}

const WATCHERS = { max_inotify_instances: 8, max_inotify_watches: 8_192 }
const NAMESPACES = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'time', 'user', 'uts']

/**
 * Run by runc as the root of the new user namespace, before user code. The kernel counts watchers of files up to the
 * user who made the namespace, root, who may have 128 in all: without a bound of its own one sandbox takes those of
 * all others and of the host's services. Namespaces it may make none, whatever filter there is.
 */
export const boundsHook = {
  path: '/bin/sh',
  args: [
    'sh',
    '-c',
    [
      // What a runtime tells a hook: crun gives up where nobody takes it.
      'read -r _',
      ...[...Object.entries(WATCHERS), ...NAMESPACES.map((kind) => [`max_${kind}_namespaces`, 0])].map(
        ([name, value]) => `echo ${value} >/proc/sys/user/${name}`,
      ),
    ].join('\n'),
  ],
}
