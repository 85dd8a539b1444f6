import { existsSync, statSync } from 'node:fs'
import path from 'node:path'
import { KiB } from '../../lib/bytes.ts'
import { firstProcess, INSIDE, MASKED, PUBLIC_FOLDERS, UID } from './inside.ts'

/** What a sandbox is made of, by the names that whoever launches bubblewrap can open. */
export interface Bwrapped {
  /** The skeleton that all share. */
  readonly root: string
  readonly node: string
  /** What it reads as the memory of the machine. */
  readonly meminfo: string
  readonly slotDir: string
  /** It is launched in the network namespace that it is to have. */
  readonly hasNetwork: boolean
  /** Where what it may write is mounted before. */
  readonly writable: { readonly tmp: string; readonly shm: string; readonly cache: string | null }
  readonly environment: Readonly<Record<string, string>>
  /** The first program and its arguments, by the names of the sandbox. */
  readonly command: readonly string[]
  /** It waits until it is told to begin. */
  readonly held: boolean
}

/** The descriptors that bubblewrap itself is told of; the sandbox has none of them. */
export const SECCOMP_FD = 5
export const INFO_FD = 6
/** What hides each: nothing, as a file or as a folder. */
const MASKS = MASKED.filter((file) => existsSync(file)).map((file) => ({ file, folder: statSync(file).isDirectory() }))
const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty']

/**
 * The command line of bubblewrap. It makes what the driver `runc` makes of the same things, but for the user ids: there is one,
 * and outside it is that of who launches.
 */
export function bwrapArguments({ root, node, meminfo, slotDir, hasNetwork, writable, environment, command, held }: Bwrapped): string[] {
  const bind = (source: string, inside: string) => ['--ro-bind', source, inside]
  const empty = path.join(root, 'sys')
  return [
    ...['user', 'ipc', 'pid', ...(hasNetwork ? [] : ['net']), 'uts', 'cgroup-try'].map((namespace) => `--unshare-${namespace}`),
    '--disable-userns',
    // It is launched as the root of a user namespace, and would give away what that may.
    ...['--cap-drop', 'ALL'],
    ...['--uid', String(UID), '--gid', String(UID), '--hostname', 'mayfly'],
    // It and all that is inside die with us, and with its first process all that is inside.
    ...['--die-with-parent', '--new-session', '--as-pid-1'],
    ...['--seccomp', String(SECCOMP_FD), '--info-fd', String(INFO_FD)],
    '--clearenv',
    ...Object.entries(environment).flatMap(([name, value]) => ['--setenv', name, value]),
    ...bind(root, '/'),
    ...PUBLIC_FOLDERS.flatMap((folder) => bind(folder, folder)),
    ...bind(node, `${INSIDE.lang}/bin/node`),
    ...bind(slotDir, '/fn'),
    ...bind(path.join(slotDir, 'code'), INSIDE.code),
    ...bind(path.join(slotDir, 'opt'), INSIDE.opt),
    ...['--proc', '/proc'],
    ...bind(meminfo, '/proc/meminfo'),
    ...MASKS.flatMap(({ file, folder }) => bind(folder ? empty : '/dev/null', file)),
    ...['--size', String(64 * KiB), '--tmpfs', '/dev'],
    ...DEVICES.flatMap((name) => ['--dev-bind', `/dev/${name}`, `/dev/${name}`]),
    ...Object.entries({ fd: '', stdin: '/0', stdout: '/1', stderr: '/2' }).flatMap(([name, at]) => ['--symlink', `/proc/self/fd${at}`, `/dev/${name}`]),
    ...['--dir', '/dev/shm', '--remount-ro', '/dev', '--bind', writable.shm, '/dev/shm', '--bind', writable.tmp, '/tmp'],
    ...(writable.cache === null ? [] : ['--bind', writable.cache, '/cache']),
    ...['--chdir', '/', '--'],
    ...firstProcess(command, held),
  ]
}
