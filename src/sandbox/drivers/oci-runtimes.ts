import { execFile } from 'node:child_process'
import type { DriverName } from '../types.ts'

/** Where the runtime keeps its state, what it runs, and by what name. */
export interface OciStart {
  readonly state: string
  readonly bundle: string
  readonly id: string
  /** Takes the number of the first process inside, by which the host knows it. */
  readonly pidFile: string
  /** It is in its control groups already. */
  readonly inGroups: boolean
}

/** A program of the OCI runtime interface, and in what it differs from the others. */
export interface OciRuntime {
  readonly name: Extract<DriverName, 'crun' | 'runc' | 'gvisor'>
  /** The program, and the package of Debian that has it. */
  readonly program: string
  /** The whole command line that starts one, detached. The descriptors 3 and 4 are to become those of the guest. */
  command(start: OciStart): readonly string[]
  /** The command inside, as the runtime has to be given it. */
  inside(command: readonly string[]): readonly string[]
  /**
   * Shares the kernel of the host with the guest: user ids, masks, what `/proc` says and bounds of what the kernel counts are then
   * ours to set, and the mounts of a sandbox can be reached from outside.
   */
  readonly sharesKernel: boolean
  /** Refuses a host whose control groups are of both versions: it is shown the first alone then, and enters groups that are made for it. */
  readonly oneVersionOfGroups: boolean
  /** System calls that are on the list for this runtime alone. */
  readonly allowedToo: readonly string[]
  /** How many processes of the host there are in the group for each of the guest, and beside those. */
  readonly processes: { readonly each: number; readonly beside: number }
  /** What is held without control groups. */
  readonly limits: readonly string[]
  readonly missing: readonly { readonly what: string; readonly why: string; readonly todo: string }[]
}

const ALWAYS = ['namespaces', 'seccomp', 'no-capabilities', 'read-only-root', 'tmp-size', 'open-files', 'time']
/** Swaps the descriptors of standard input and output for 3 and 4, and back: of the rest gVisor hands none over. */
const TO_STANDARD = 'exec 0<&3 1>&4 3<&- 4>&-; exec "$@"'
const FROM_STANDARD = 'exec 3<&0 4>&1 0</dev/null 1>/dev/null; exec "$@"'

export const OCI_RUNTIMES: Readonly<Record<OciRuntime['name'], OciRuntime>> = {
  runc: {
    name: 'runc',
    program: 'runc',
    command: ({ state, bundle, id, pidFile }) => [
      ...['runc', '--root', state],
      ...['run', '--detach', '--preserve-fds', '2', '--pid-file', pidFile, '--bundle', bundle, id],
    ],
    inside: (command) => command,
    sharesKernel: true,
    oneVersionOfGroups: false,
    allowedToo: [],
    processes: { each: 1, beside: 0 },
    limits: [...ALWAYS, 'uid-range'],
    missing: [],
  },
  crun: {
    name: 'crun',
    program: 'crun',
    command: ({ state, bundle, id, pidFile, inGroups }) => [
      ...['crun', '--root', state, ...(inGroups ? ['--cgroup-manager=disabled'] : ['--cgroup-manager=cgroupfs'])],
      ...['run', '--detach', '--preserve-fds=2', '--pid-file', pidFile, '--bundle', bundle, id],
    ],
    inside: (command) => command,
    sharesKernel: true,
    oneVersionOfGroups: true,
    allowedToo: [],
    processes: { each: 1, beside: 0 },
    limits: [...ALWAYS, 'uid-range'],
    missing: [],
  },
  gvisor: {
    name: 'gvisor',
    program: 'runsc',
    command: ({ state, bundle, id }) => {
      const flags = ['--platform=ptrace', '--network=none', '--oci-seccomp', '--root', `${state}/${id}`]
      return ['sh', '-c', TO_STANDARD, 'sh', 'runsc', ...flags, 'run', '--detach', '--bundle', bundle, id]
    },
    inside: (command) => ['/bin/sh', '-c', FROM_STANDARD, 'sh', ...command],
    sharesKernel: false,
    oneVersionOfGroups: false,
    // gVisor answers EPERM for what is not listed. Of clone3 it says itself that it has none, and only then the C library takes clone.
    allowedToo: ['clone3'],
    // Each thread of the guest is a traced process of the host, and gVisor has threads of its own.
    processes: { each: 2, beside: 128 },
    limits: [...ALWAYS, 'own-kernel'],
    missing: [
      { what: 'compile cache', why: 'gVisor keeps the files of a sandbox to itself', todo: 'Functions load a little slower under it; there is nothing to do.' },
    ],
  },
}

/** As sandboxes are started: where the node itself was started from does not matter. */
export const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The version that the program tells, or null when there is none. */
export function ociVersion({ program }: OciRuntime): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(program, ['--version'], { timeout: 10_000, env: { PATH } }, (error, out) => resolve(error ? null : (/version (\S+)/.exec(out)?.[1] ?? 'unknown')))
  })
}

export const runcVersion = (): Promise<string | null> => ociVersion(OCI_RUNTIMES.runc)
