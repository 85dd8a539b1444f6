import { existsSync, promises as fs } from 'node:fs'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import type { GuestPlace } from '../guests.ts'
import { libraryPath, pathVariables, programPath } from '../guest-paths.ts'
import type { RuntimeName } from '../types.ts'
import { END_MARK } from './stderr-tail.ts'

/** The user inside. */
export const UID = 1000
/** Where all that is given lies inside, by its names on Lambda. */
export const INSIDE = { code: '/var/task', opt: '/opt', keptCache: '/fn/cache', lang: '/var/lang', runtime: '/var/runtime' }
/** Where a guest finds itself. The loopback ports are of the platform, and of the Runtime API where a runtime has it. */
export const PLACE: GuestPlace = { node: `${INSIDE.lang}/bin/node`, runtimes: INSIDE.runtime, relay: 9002, api: 9001 }
/** What the first process inside is told. The loader looks where libraries lie when a program starts, and never again. */
const ENVIRONMENT = { PATH: programPath(INSIDE), LD_LIBRARY_PATH: libraryPath(INSIDE), HOME: '/tmp', LANG: 'C.UTF-8' }
/** Where the guest becomes the function's process itself, also what all functions have: each that stays as it is need not be set then, and the time zone is dear. */
export const environmentFor = (runtime: RuntimeName): Readonly<Record<string, string>> =>
  runtime.startsWith('nodejs') ? { ...ENVIRONMENT, ...pathVariables(runtime, INSIDE), TZ: ':UTC' } : ENVIRONMENT
/**
 * The first process: it gives the program its place and takes the ends of all that loses its parent, which would stay as
 * so many counted processes: Node takes those of its own children alone. The descriptors are the program's. What is written to
 * its standard output goes where its errors go, and behind that how it ended.
 */
const FIRST = `"$@" >&2 & exec 3>&- 4>&-; wait $!; status=$?; printf '${END_MARK.replace('\0', '\\000')}%d' $status >&2; exit $status`
/** A line on the first descriptor lets it begin; at the end of that it ends. The shell reads a byte at a time, and nothing of what follows. */
const HELD = `read -r _ <&3 || exit 0; ${FIRST}`
/** @param held  it waits for the line `BEGIN` before it starts the program */
export const firstProcess = (command: readonly string[], held: boolean): string[] => ['/bin/sh', '-c', held ? HELD : FIRST, 'init', ...command]
export const BEGIN = '\n'
/** So long at most the first process is waited for, when its program has ended of itself, to say how. */
export const LAST_WORDS_MS = 250
/** @returns whether the guest closed its descriptors before they were closed here */
export function endOfItself(...descriptors: readonly Duplex[]): () => boolean {
  let first: 'guest' | 'host' | null = null
  for (const descriptor of descriptors) {
    for (const heard of ['end', 'error']) descriptor.once(heard, () => (first ??= 'guest'))
    descriptor.once('close', () => (first ??= 'host'))
  }
  return () => first === 'guest'
}
/** Programs and libraries of the distribution, for native modules and child processes: public files, read-only. */
export const PUBLIC_FOLDERS: readonly string[] = ['/usr', ...['/etc/ssl', '/etc/alternatives'].filter((folder) => existsSync(folder))]
/** What the kernel tells of the whole machine, and is nobody's business inside. */
export const MASKED: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/kcore',
  '/proc/keys',
  '/proc/key-users',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/interrupts',
  '/proc/kallsyms',
  '/proc/modules',
  '/proc/partitions',
  '/proc/diskstats',
  '/proc/cmdline',
  '/proc/version_signature',
  '/proc/swaps',
  '/proc/kpagecount',
  '/proc/vmallocinfo',
  // Its disks with their options and what of them is free, its devices, and how many sandboxes there are.
  '/proc/fs',
  '/proc/bus',
  '/proc/irq',
  '/proc/cgroups',
  // Which start of the machine this is, and so which sandboxes stand on one.
  '/proc/sys/kernel/random/boot_id',
]

/** The read-only root that all sandboxes share: mount points, links and a small /etc; nothing of the host's own. */
export async function makeSkeleton(root: string, nameServer: string | null = null): Promise<void> {
  await fs.rm(root, { recursive: true, force: true })
  for (const folder of ['usr', 'etc', 'proc', 'dev', 'tmp', 'fn', 'cache', 'opt', 'var/task', 'var/lang/bin', 'var/runtime', 'home', 'run', 'root', 'sys'])
    await fs.mkdir(path.join(root, folder), { recursive: true, mode: 0o755 })
  // runc gives a tmpfs the mode of the folder below it.
  for (const folder of ['tmp', 'cache']) await fs.chmod(path.join(root, folder), 0o1777)
  for (const link of ['bin', 'lib', 'lib64', 'sbin']) if (existsSync(`/${link}`)) await fs.symlink(`usr/${link}`, path.join(root, link))
  await fs.symlink('/tmp', path.join(root, 'var/tmp'))
  await fs.writeFile(path.join(root, 'var/lang/bin/node'), '')
  const etc: Record<string, string> = {
    passwd: `root:x:0:0:root:/root:/bin/sh\nsbx_user:x:${UID}:${UID}::/tmp:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/false\n`,
    group: `root:x:0:\nsbx_user:x:${UID}:\nnogroup:x:65534:\n`,
    hosts: '127.0.0.1 localhost sandbox.localdomain\n::1 localhost\n',
    'resolv.conf': nameServer === null ? '' : `nameserver ${nameServer}\noptions timeout:2 attempts:3\n`,
    'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
    hostname: 'mayfly\n',
  }
  for (const [name, text] of Object.entries(etc)) await fs.writeFile(path.join(root, 'etc', name), text, { mode: 0o644 })
  for (const inner of ['alternatives', 'ssl']) await fs.mkdir(path.join(root, 'etc', inner), { recursive: true, mode: 0o755 })
}
