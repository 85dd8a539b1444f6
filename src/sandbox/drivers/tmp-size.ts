import { run } from '../egress/programs.ts'

const LEAST_INODES = 65_536
const INODES_PER_MB = 128

/** The options of a `/tmp` of so many MB: files of 8 KiB fill it before its inodes are gone. */
export const tmpOptions = (mb: number): readonly string[] => ['nosuid', 'nodev', `size=${mb}m`, `nr_inodes=${Math.max(LEAST_INODES, mb * INODES_PER_MB)}`]

/**
 * Gives the `/tmp` of a sandbox another size, from its mount namespace: from outside of it a mount cannot be changed.
 * Only where no user code has run, for `mount` is taken as it lies inside, on the root that is read-only there.
 * @throws what `nsenter` or `mount` said
 */
export async function resizeTmp(pid: number, mb: number): Promise<void> {
  const mount = ['mount', '--no-mtab', '--types', 'tmpfs', '--options', ['remount', ...tmpOptions(mb)].join(','), 'tmpfs', '/tmp']
  await run('nsenter', [`--mount=/proc/${pid}/ns/mnt`, '--', ...mount]).catch((error: Error) => {
    throw new Error(`the size of /tmp could not be set: ${error.message}`)
  })
}
