import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, globSync, mkdirSync, readFileSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** The releases of Debian that a host can be made of. */
export const RELEASES = ['bookworm', 'trixie'] as const
export type Release = (typeof RELEASES)[number]

/** The ordinary user of the host. */
export const USER = 'ann'
/** The number that the first user of a Debian has. */
export const USER_ID = 1000

/** Where the disk with the job and what it works on is mounted. */
export const JOB = '/job'

/** What is on it beside Debian's base: a service manager with sessions, AppArmor, and all that Mayfly's sandboxes and their tests take. */
const PACKAGES = [
  ...['linux-image-amd64', 'initramfs-tools', 'systemd', 'systemd-sysv', 'udev', 'kmod', 'dbus', 'dbus-user-session', 'libpam-systemd', 'apparmor'],
  ...['runc', 'crun', 'runsc', 'bubblewrap', 'slirp4netns', 'nftables', 'iproute2', 'procps', 'ca-certificates', 'git', 'sudo', 'python3', 'curl'],
  ...['gcc', 'libc6-dev', 'openssl', 'passwd', 'login', 'systemd-timesyncd', 'psmisc', 'strace'],
]
const IMAGE_MB = 6_144

/** What a host is started from; made once. */
export interface Image {
  readonly disk: string
  readonly kernel: string
  readonly initrd: string
}

const run = (program: string, args: readonly string[], log: string, env?: NodeJS.ProcessEnv): void => {
  const { status, error, stdout } = spawnSync('sh', ['-c', '"$@" 2>&1', 'sh', program, ...args], { env, encoding: 'utf8', maxBuffer: 1 << 28 })
  writeFileSync(log, `# ${program} ${args.join(' ')}\n${stdout}`, { flag: 'a' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed (${error?.message ?? status}); see ${log}`)
}

/** Whence this machine has its packages. */
function mirror(): string {
  for (const file of globSync('/etc/apt/{sources.list,sources.list.d/*}')) {
    const found = /^(?:URIs:\s*|deb\s+(?:\[[^\]]*\]\s*)?)(\S*debian\/?)(?:\s|$)/m.exec(readFileSync(file, 'utf8'))?.[1]
    if (found) return found.replace(/\/$/, '')
  }
  return 'http://deb.debian.org/debian'
}

/**
 * A Debian with systemd, control groups of the second version alone, and the Node and npm of this machine.
 * @param folder  where it is kept
 * @throws Error with the file that says more
 */
export function makeImage(release: Release, folder: string, say: (line: string) => void): Image {
  const image: Image = {
    disk: path.join(folder, `${release}.ext4`),
    kernel: path.join(folder, `${release}.vmlinuz`),
    initrd: path.join(folder, `${release}.initrd`),
  }
  if (existsSync(image.disk)) return image
  const root = path.join(folder, release)
  const log = path.join(folder, `${release}.log`)
  mkdirSync(folder, { recursive: true })
  rmSync(root, { recursive: true, force: true })
  rmSync(log, { force: true })
  say(`Debian ${release} is put together once (a few minutes); ${log} says how it goes`)
  // What is mounted meanwhile ends with who mounted it, however that ends.
  const alone = ['--mount', '--propagation', 'private']
  run('unshare', [...alone, 'debootstrap', '--variant=minbase', release, root, mirror()], log)
  settle(root, release)
  const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive' }
  const inside = (...args: string[]) =>
    run('unshare', [...alone, 'sh', '-c', 'mount -t proc proc "$1/proc" && exec chroot "$@"', 'sh', root, ...args], log, environment)
  inside('apt-get', 'update')
  inside('apt-get', 'install', '-y', '--no-install-recommends', '-o', 'DPkg::Options::=--force-unsafe-io', ...PACKAGES)
  inside('apt-get', 'clean')
  inside('systemctl', 'enable', 'systemd-networkd', 'mayfly-host')
  inside('useradd', '--create-home', '--uid', String(USER_ID), '--shell', '/bin/bash', USER)
  inside('passwd', '-d', 'root')
  rmSync(path.join(root, 'usr/sbin/policy-rc.d'))
  writeFileSync(path.join(root, 'etc/resolv.conf'), 'nameserver 10.0.2.3\n')
  putNode(root)
  for (const [name, to] of [
    ['vmlinuz', image.kernel],
    ['initrd.img', image.initrd],
  ] as const)
    copyFileSync(realpathIn(root, name), to)
  makeDisk(root, `${image.disk}.new`, IMAGE_MB, 'host', log)
  renameSync(`${image.disk}.new`, image.disk)
  rmSync(root, { recursive: true, force: true })
  return image
}

/** @throws Error with the file that says more */
export function makeDisk(from: string, file: string, mb: number, label: string, log: string): void {
  rmSync(file, { force: true })
  run('mkfs.ext4', ['-q', '-F', '-L', label, '-O', '^has_journal', '-d', from, file, `${mb}M`], log)
}

/** What stands in files of the host, for its own sake and for the job. */
function settle(root: string, release: Release): void {
  const write = (file: string, text: string, mode = 0o644) => {
    mkdirSync(path.join(root, path.dirname(file)), { recursive: true })
    writeFileSync(path.join(root, file), text, { mode })
  }
  const archive = mirror()
  const security = archive.replace(/\/debian$/, '/debian-security')
  write('etc/apt/sources.list', `deb ${archive} ${release} main\ndeb ${archive} ${release}-updates main\ndeb ${security} ${release}-security main\n`)
  for (const file of globSync('/etc/apt/apt.conf.d/99*')) copyFileSync(file, path.join(root, file))
  for (const file of ['etc/resolv.conf', 'etc/hosts']) writeFileSync(path.join(root, file), readFileSync(path.join('/', file)))
  // Nothing is started while it is put together.
  write('usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', 0o755)
  write('etc/hostname', 'host\n')
  write('etc/hosts', '127.0.0.1 localhost\n127.0.1.1 host\n')
  write('etc/fstab', `LABEL=host / ext4 defaults,noatime 0 1\nLABEL=job ${JOB} ext4 defaults,noatime 0 2\n`)
  mkdirSync(path.join(root, JOB))
  write('etc/systemd/network/20-all.network', '[Match]\nName=en* eth*\n\n[Network]\nDHCP=ipv4\n')
  write(
    'etc/systemd/system/mayfly-host.service',
    `[Unit]
Description=The job of this host
Wants=network-online.target
After=network-online.target multi-user.target

[Service]
ExecStart=/bin/sh -c 'exec /bin/bash ${JOB}/job.sh <>/dev/virtio-ports/job >&0 2>&0'
Environment=HOME=/root
TimeoutStopSec=20
ExecStopPost=/usr/bin/systemctl --no-block poweroff

[Install]
WantedBy=default.target
`,
  )
}

/** The Node and npm that runs here, and whom it trusts. */
function putNode(root: string): void {
  const npm = spawnSync('npm', ['root', '-g'], { encoding: 'utf8' }).stdout.trim()
  cpSync(realpathSync(process.execPath), path.join(root, 'usr/bin/node'))
  cpSync(path.join(npm, 'npm'), path.join(root, 'usr/lib/node_modules/npm'), { recursive: true, dereference: true })
  for (const name of ['npm', 'npx']) symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, path.join(root, 'usr/bin', name))
  copyFileSync('/etc/ssl/certs/ca-certificates.crt', path.join(root, 'etc/ssl/certs/ca-certificates.crt'))
  if (existsSync('/usr/etc/npmrc')) {
    mkdirSync(path.join(root, 'usr/etc'), { recursive: true })
    copyFileSync('/usr/etc/npmrc', path.join(root, 'usr/etc/npmrc'))
  }
}

/** Links of that root lead to places in it. */
function realpathIn(root: string, name: string): string {
  const { stdout } = spawnSync('readlink', [path.join(root, name)], { encoding: 'utf8' })
  return path.join(root, stdout.trim() === '' ? name : stdout.trim())
}
