import { spawn } from 'node:child_process'
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
export async function installTestPrograms(say: (line: string) => void): Promise<void> {
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
    // A machine that breaks off meanwhile has no tests to run: what is unpacked need not be on its disk.
    ended('apt-get', ['-o', 'DPkg::Lock::Timeout=120', '-o', 'DPkg::Options::=--force-unsafe-io', ...args], 600_000, {
      ...process.env,
      DEBIAN_FRONTEND: 'noninteractive',
    })
  const listed = existsSync('/var/lib/apt/lists') && readdirSync('/var/lib/apt/lists').some((name) => name.includes('Packages'))
  if (!listed) await apt(['update', '-qq'])
  let result = await apt(install)
  if (result.status !== 0 && listed) {
    await apt(['update', '-qq'])
    result = await apt(install)
  }
  const left = missing()
  const took = `${((performance.now() - from) / 1000).toFixed(1)} s`
  if (left.length === 0) say(`Installed by apt, for tests only: ${wanted.join(', ')} (${took})`)
  else say(`apt could not install ${left.join(', ')} (${took}); tests that need them are skipped: ${result.said.trim().split('\n').at(-1)}`)
}

/** The Nodes of further runtimes; without them their tests are skipped. */
export async function installTestRuntimes(say: (line: string) => void): Promise<void> {
  const runtimes = ['nodejs22.x', 'nodejs26.x']
  const args = [path.join(ROOT, 'tools', 'setup.js'), '--quiet-if-done', ...runtimes.flatMap((name) => ['--runtime', name])]
  const { status, said } = await ended(process.execPath, args, 300_000, process.env)
  if (status !== 0) say(`${said.trim()}\n${runtimes.join(' and ')} could not be installed; their tests are skipped`)
}

/** Runs a program to its end. What it says goes to nobody but who looks at why it failed. */
function ended(command: string, args: readonly string[], timeout: number, env: NodeJS.ProcessEnv): Promise<{ status: number | null; said: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout, env })
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-20_000)
    })
    child.on('error', (error) => resolve({ status: null, said: error.message }))
    child.on('close', (status) => resolve({ status, said }))
  })
}
