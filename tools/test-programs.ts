import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { ROOT } from './sources.ts'

/** Debian packages that only tests need, each with a file by which it is known to be there. */
const PACKAGES: Readonly<Record<string, string>> = {
  'chromium-headless-shell': '/usr/lib/chromium/chromium-headless-shell',
  awscli: '/usr/bin/aws',
  curl: '/usr/bin/curl',
  gcc: '/usr/bin/gcc',
  'libc6-dev': '/usr/include/stdio.h',
  python3: '/usr/bin/python3',
  'python3-boto3': '/usr/lib/python3/dist-packages/boto3',
  bubblewrap: '/usr/bin/bwrap',
  slirp4netns: '/usr/bin/slirp4netns',
  runsc: '/usr/bin/runsc',
  sudo: '/usr/bin/sudo',
  openssl: '/usr/bin/openssl',
}

/** Installs what is missing where apt and root allow it, and says so in a line; tests skip what is not there. */
export function installTestPrograms(say: (line: string) => void): void {
  const missing = () => Object.keys(PACKAGES).filter((name) => !existsSync(PACKAGES[name] as string))
  const wanted = missing()
  if (wanted.length === 0) return
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...wanted]
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    say(`Tests that need ${wanted.join(', ')} are skipped. To have them run: sudo apt-get ${install.join(' ')}`)
    return
  }
  const from = performance.now()
  const apt = (args: readonly string[]) =>
    spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=120', ...args], {
      encoding: 'utf8',
      timeout: 600_000,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
  const listed = existsSync('/var/lib/apt/lists') && readdirSync('/var/lib/apt/lists').some((name) => name.includes('Packages'))
  if (!listed) apt(['update', '-qq'])
  let result = apt(install)
  if (result.status !== 0 && listed) {
    apt(['update', '-qq'])
    result = apt(install)
  }
  const left = missing()
  const took = `${((performance.now() - from) / 1000).toFixed(1)} s`
  if (left.length === 0) say(`Installed by apt, for tests only: ${wanted.join(', ')} (${took})`)
  else say(`apt could not install ${left.join(', ')} (${took}); tests that need them are skipped: ${(result.stderr ?? '').trim().split('\n').at(-1)}`)
}

/** The Nodes of further runtimes; without them their tests are skipped. */
export function installTestRuntimes(say: (line: string) => void): void {
  const runtimes = ['nodejs22.x', 'nodejs26.x']
  const { status } = spawnSync(
    process.execPath,
    [path.join(ROOT, 'tools', 'setup.js'), '--quiet-if-done', ...runtimes.flatMap((name) => ['--runtime', name])],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: 300_000,
    },
  )
  if (status !== 0) say(`${runtimes.join(' and ')} could not be installed; their tests are skipped`)
}
