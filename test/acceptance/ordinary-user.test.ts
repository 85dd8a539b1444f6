import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, processes, type Ready, ROOT, removeFolder } from './harness.ts'

const NAME = `mayfly-test-${process.pid}`
const RULE = `/etc/sudoers.d/${NAME}`
const noSudo = existsSync('/usr/bin/sudo') ? false : 'needs the package sudo'
const noBwrap = existsSync('/usr/bin/bwrap') ? false : 'needs the package bubblewrap'
const skip = process.getuid?.() === 0 ? false : 'root makes the user'

/** What a clone has not that nobody works in, a third of the whole: by folder. */
const LEFT_OUT: readonly (readonly [string, readonly string[]])[] = [
  ['', ['.git', '.mayfly', 'tools', 'node_modules']],
  ['tools', ['node22', 'node26']],
  ['node_modules', ['@biomejs', '@typescript']],
]

// What runs inside: it opens and asks, and never writes to what it should not reach.
const INSIDE = `
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
const open = (path, flags) => { try { fs.closeSync(fs.openSync(path, flags)); return 'open' } catch (error) { return error.code } }
export const handler = async ({ home }) => {
  const children = []
  let forks = 'unbounded'
  for (let i = 0; i < 200 && forks === 'unbounded'; i++) {
    const child = spawn('/usr/bin/sleep', ['60'], { stdio: 'ignore' })
    child.on('error', () => {})
    if (child.pid === undefined) forks = 'EAGAIN'
    else children.push(child)
  }
  for (const child of children) child.kill('SIGKILL')
  await Promise.all(children.map((child) => new Promise((resolve) => child.once('exit', resolve))))
  return {
    uid: process.getuid(),
    home: open(home, 'r'),
    pattern: open('/proc/sys/kernel/core_pattern', 'r+'),
    processes: fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name)).length,
    interfaces: Object.keys(os.networkInterfaces()),
    seccomp: /Seccomp:\\t(\\d)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1],
    forks,
  }
}
`
const statOf = (pid: number) => {
  try {
    return statSync(`/proc/${pid}`).uid
  } catch {
    return null
  }
}

describe('the clone of an ordinary user, below a folder that only that user may enter', { skip }, () => {
  let folder = ''
  let clone = ''
  let uid = 0
  let gid = 0
  const running = new Set<() => void>()
  const certificates = { NODE_EXTRA_CA_CERTS: '/etc/ssl/certs/ca-certificates.crt' }
  const environment = () => ({ HOME: path.join(folder, 'home'), USER: NAME, PATH: process.env.PATH ?? '', LANG: 'C.UTF-8', ...certificates })
  const asUser = () => ({ cwd: clone, uid, gid, env: environment() })
  const run = (program: string, args: readonly string[]) => {
    try {
      return { code: 0, said: execFileSync(program, args, { ...asUser(), encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 }) }
    } catch (error) {
      const { status, stdout, stderr } = error as { status: number; stdout: string; stderr: string }
      return { code: status, said: stdout + stderr }
    }
  }
  /** `npm start`, as the user types it, where the administrator lets nobody have a core dump: `sudo` does not either. */
  const start = async (...args: string[]) => {
    const child = spawn('prlimit', ['--core=0:0', 'npm', 'start', '--silent', '--', '--json', '--port', '0', ...args], {
      ...asUser(),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    let out = ''
    let said = ''
    const interrupt = () => process.kill(-(child.pid as number), 'SIGINT')
    running.add(interrupt)
    child.once('exit', () => running.delete(interrupt))
    const ready = await new Promise<Ready>((resolve, reject) => {
      child.stdout.on('data', (chunk: Buffer) => {
        out += chunk.toString()
        if (out.includes('\n')) resolve(JSON.parse(out) as Ready)
      })
      child.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString()
      })
      child.once('exit', (code) => reject(new Error(`it ended with ${code}: ${said}`)))
      setTimeout(() => reject(new Error(`not ready after 150 s: ${said}`)), 150_000).unref()
    })
    const stop = async (how: () => void = interrupt) => {
      const ended = once(child, 'close')
      how()
      await ended
      const left = processes().filter((one) => one.args.includes(clone) && one.args.includes('main.ts'))
      assert.deepEqual(left, [], 'nothing is left running')
    }
    return { ready, said: () => said, stop }
  }
  /** What a function finds that is deployed now. */
  const look = () => {
    const inside = path.join(clone, 'inside')
    mkdirSync(inside, { recursive: true })
    writeFileSync(path.join(inside, 'index.mjs'), INSIDE)
    execFileSync('chown', ['-R', `${uid}:${gid}`, inside])
    assert.equal(run('npx', ['mayfly', 'deploy', 'inside']).code, 0)
    const { code, said } = run('npx', ['mayfly', 'invoke', 'inside', '--data', JSON.stringify({ home: path.join(folder, 'home') })])
    assert.equal(code, 0, said)
    return JSON.parse(said) as Record<string, unknown>
  }
  const grant = () => {
    writeFileSync(RULE, `${NAME} ALL=(ALL) NOPASSWD: ALL\n`)
    chmodSync(RULE, 0o440)
  }

  before(() => {
    // As many an administrator has it: what is made is for its user alone.
    process.umask(0o077)
    folder = makeFolder()
    chmodSync(folder, 0o711)
    execFileSync('useradd', ['--create-home', '--home-dir', path.join(folder, 'home'), '--shell', '/bin/sh', NAME], { stdio: 'pipe' })
    ;({ uid, gid } = statSync(path.join(folder, 'home')))
    chmodSync(path.join(folder, 'home'), 0o700)
    clone = path.join(folder, 'home', 'my clone')
    mkdirSync(clone)
    for (const [within, leftOut] of LEFT_OUT) {
      const files = readdirSync(path.join(ROOT, within)).filter((name) => !leftOut.includes(name))
      mkdirSync(path.join(clone, within), { recursive: true })
      execFileSync('cp', ['-a', '--reflink=auto', ...files.map((name) => path.join(ROOT, within, name)), path.join(clone, within)])
    }
    execFileSync('chown', ['-hR', `${uid}:${gid}`, clone])
  })
  after(async () => {
    rmSync(RULE, { force: true })
    for (const interrupt of running) interrupt()
    if (running.size > 0) await new Promise((resolve) => setTimeout(resolve, 5_000))
    execFileSync('userdel', ['--force', NAME], { stdio: 'ignore' })
    removeFolder(folder)
  })

  it('is set up without a right on the machine', () => {
    assert.deepEqual(run('npm', ['run', 'setup', '--silent']).code, 0)
  })

  it('without sudo: functions run isolated by bubblewrap, as nobody but this user', { skip: noBwrap }, async () => {
    const node = await start()
    assert.equal(node.ready.sandbox.driver, 'bwrap')
    for (const limit of ['namespaces', 'seccomp', 'no-capabilities', 'read-only-root', 'pids']) assert.ok(node.ready.sandbox.limits.includes(limit), limit)
    assert.match(node.said(), /Resized a photograph in an isolated function/)
    const { processes: inner, ...told } = look()
    assert.deepEqual(told, {
      uid: 1000,
      home: 'ENOENT',
      pattern: 'EACCES',
      interfaces: node.ready.sandbox.limits.includes('egress') ? ['lo', 'eth0'] : ['lo'],
      seccomp: '2',
      forks: 'EAGAIN',
    })
    assert.ok(Number(inner) <= 2)
    const sandboxes = () => processes().filter((one) => one.args.startsWith('/var/lang/bin/node') && statOf(one.pid) === uid)
    assert.ok(sandboxes().length > 0, 'they are seen from outside')
    const health = (await (await fetch(`${node.ready.url}/health`)).json()) as { sandbox: { missing: { what: string }[] }; missing: { what: string }[] }
    const missing = health.sandbox.missing.map(({ what }) => what)
    assert.equal(node.ready.sandbox.limits.includes('memory'), !missing.some((what) => what.startsWith('memory')))
    const report = run('npx', ['mayfly', 'doctor'])
    assert.equal(report.code, 0, report.said)
    assert.match(report.said, /Sandbox {3}bwrap/)
    assert.match(report.said, /Missing {3}uid-own: .*user’s id/)
    // What the kernel does not hold is the same by all that say it, the bound of PostgreSQL's memory among it.
    const gaps = health.missing.map(({ what }) => what)
    assert.ok(gaps.includes('database-memory'), gaps.join())
    assert.deepEqual([...report.said.matchAll(/^Missing {3}([^:]+):/gm)].map(([, what]) => what).toSorted(), gaps.toSorted())
    assert.deepEqual([...run('npx', ['mayfly', 'status']).said.matchAll(/^missing {3}([^:]+):/gm)].map(([, what]) => what).toSorted(), gaps.toSorted())
    // Nothing is asked and nothing waited for: what was started ends by itself.
    const { pid } = JSON.parse(readFileSync(path.join(clone, '.mayfly', 'run.json'), 'utf8')) as { pid: number }
    await node.stop(() => process.kill(pid, 'SIGKILL'))
    for (let tries = 0; tries < 100 && sandboxes().length > 0; tries++) await new Promise((resolve) => setTimeout(resolve, 50))
    assert.deepEqual(sandboxes(), [])
  })

  it('--sandbox process by name runs the first job, and says that nothing isolates', async () => {
    // Nobody answers at its public address yet: what stands before the node may start after it.
    const node = await start('--sandbox', 'process', '--data', path.join(clone, 'another'), '--public-url', 'https://nobody.invalid')
    assert.equal(node.ready.url, 'https://nobody.invalid')
    assert.equal(node.ready.sandbox.driver, 'process')
    assert.match(node.said(), /keeps nothing apart/)
    assert.match(node.said(), /Resized a photograph in a function that nothing isolates/)
    await node.stop()
  })

  it('with sudo: the same clone and its data go on, started by sudo, and the run file is the user’s', { skip: noSudo }, async () => {
    grant()
    const caches = path.join(clone, 'node_modules', '.cache')
    rmSync(caches, { recursive: true, force: true })
    const node = await start()
    assert.match(node.said(), /the node is started with sudo/)
    assert.equal(node.ready.sandbox.driver, existsSync('/usr/bin/crun') ? 'crun' : 'runc')
    const { home, seccomp, pattern } = look()
    assert.deepEqual({ home, seccomp, pattern }, { home: 'ENOENT', seccomp: '2', pattern: 'EACCES' })
    const runFile = path.join(clone, '.mayfly', 'run.json')
    assert.deepEqual([statSync(runFile).uid, statSync(runFile).mode & 0o777], [uid, 0o600])
    const { pid } = JSON.parse(readFileSync(runFile, 'utf8')) as { pid: number }
    assert.equal(statSync(`/proc/${pid}`).uid, 0)
    assert.ok(
      readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`NODE_EXTRA_CA_CERTS=${certificates.NODE_EXTRA_CA_CERTS}`),
      'whom it trusts beside the rest goes with it',
    )
    assert.match(run('npx', ['mayfly', 'ls']).said, /^resize /m)
    const response = await fetch(`${node.ready.url}/storage/v1/object/avatars/by-root.png`, {
      method: 'POST',
      headers: { apikey: node.ready.project.publishableKey, 'content-type': 'image/png' },
      body: readFileSync(path.join(ROOT, 'examples', 'photos', 'cat.png')),
    })
    assert.equal(response.status, 200)
    await response.arrayBuffer()
    // One who may not signal root's processes ends the launcher, and that the node.
    const launcher = processes().find((one) => one.args.includes('bin/mayfly.js up') && !one.args.startsWith('sh ') && statSync(`/proc/${one.pid}`).uid === uid)
    await node.stop(() => void run('kill', ['-TERM', String(launcher?.pid)]))
    // Of what it cached beside the packages some is root's: a later set-up removes it all the same.
    assert.notEqual(run('rm', ['-r', caches]).code, 0)
    assert.equal(run('node', ['-e', `import('./tools/caches.js').then((it) => it.removeCaches(process.cwd()))`]).code, 0)
    assert.equal(existsSync(caches), false)
    rmSync(RULE)
    const again = run('npm', ['start', '--silent', '--', '--port', '0'])
    assert.equal(again.code, 1, 'without sudo it is root’s now')
    assert.match(again.said, /the data of control belongs to another user\. Start the node as root/)
    assert.doesNotMatch(again.said, /\n\s+at /)
  })
})
