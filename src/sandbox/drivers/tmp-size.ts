import { execFile } from 'node:child_process'

const LIMIT_MS = 10_000
const LEAST_INODES = 65_536
const INODES_PER_MB = 128

/** The options of a `/tmp` of so many MB: files of 8 KiB fill it before its inodes are gone. */
export const tmpOptions = (mb: number): readonly string[] => ['nosuid', 'nodev', `size=${mb}m`, `nr_inodes=${Math.max(LEAST_INODES, mb * INODES_PER_MB)}`]

/**
 * Gives the `/tmp` of a sandbox another size, from its mount namespace: from outside of it a mount cannot be changed.
 * Only where no user code has run, for `mount` is taken as it lies inside, on the root that is read-only there.
 * @throws what `nsenter` or `mount` said
 */
export function resizeTmp(pid: number, mb: number): Promise<void> {
  const mount = ['mount', '--no-mtab', '--types', 'tmpfs', '--options', ['remount', ...tmpOptions(mb)].join(','), 'tmpfs', '/tmp']
  return new Promise((resolve, reject) => {
    execFile(
      'nsenter',
      [`--mount=/proc/${pid}/ns/mnt`, '--', ...mount],
      { timeout: LIMIT_MS, env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } },
      (error, _out, said) => {
        if (error) reject(new Error(`the size of /tmp could not be set: ${said.trim().slice(-300) || error.message}`))
        else resolve()
      },
    )
  })
}
