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
const skip = process.getuid?.() === 0 ? false : 'root makes the user'

describe('the clone of an ordinary user, below a folder that only that user may enter', { skip }, () => {
  let folder = ''
  let clone = ''
  let uid = 0
  let gid = 0
  const running = new Set<() => void>()
  const environment = () => ({ HOME: path.join(folder, 'home'), USER: NAME, PATH: process.env.PATH ?? '', LANG: 'C.UTF-8' })
  const asUser = () => ({ cwd: clone, uid, gid, env: environment() })
  const run = (program: string, args: readonly string[]) => {
    try {
      return { code: 0, said: execFileSync(program, args, { ...asUser(), encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 }) }
    } catch (error) {
      const { status, stdout, stderr } = error as { status: number; stdout: string; stderr: string }
      return { code: status, said: stdout + stderr }
    }
  }
  /** `npm start`, as the user types it. */
  const start = async (...args: string[]) => {
    const child = spawn('npm', ['start', '--silent', '--', '--json', '--port', '0', ...args], {
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
      setTimeout(() => reject(new Error(`not ready after 60 s: ${said}`)), 60_000).unref()
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
  const grant = () => {
    writeFileSync(RULE, `${NAME} ALL=(ALL) NOPASSWD: ALL\n`)
    chmodSync(RULE, 0o440)
  }

  before(() => {
    folder = makeFolder()
    chmodSync(folder, 0o711)
    execFileSync('useradd', ['--create-home', '--home-dir', path.join(folder, 'home'), '--shell', '/bin/sh', NAME], { stdio: 'pipe' })
    ;({ uid, gid } = statSync(path.join(folder, 'home')))
    chmodSync(path.join(folder, 'home'), 0o700)
    clone = path.join(folder, 'home', 'my clone')
    mkdirSync(clone)
    const files = readdirSync(ROOT).filter((name) => !['.git', '.mayfly'].includes(name))
    execFileSync('cp', ['-a', '--reflink=auto', ...files.map((name) => path.join(ROOT, name)), clone])
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

  it('without sudo: starts, says in one sentence what functions need', async () => {
    const node = await start()
    assert.deepEqual(node.ready.sandbox, { driver: 'none', limits: [] })
    const told = node
      .said()
      .split('\n')
      .filter((line) => line.includes('Functions cannot run'))
    assert.equal(told.length, 1)
    assert.match(
      told[0] as string,
      /run by runc, and that takes root\. Start the node as root \(`sudo npm start`\), or.* without isolation: `npm start -- --sandbox process`/,
    )
    assert.match(node.said(), /The first job is left out/)
    const { code, said } = run('npx', ['mayfly', 'doctor'])
    assert.equal(code, 1)
    assert.match(said, /Missing {3}functions: .*root/)
    await node.stop()
  })

  it('--sandbox process by name runs the first job, and says that nothing isolates', async () => {
    const node = await start('--sandbox', 'process')
    assert.equal(node.ready.sandbox.driver, 'process')
    assert.match(node.said(), /keeps nothing apart/)
    assert.match(node.said(), /Resized a photograph in a function that nothing isolates/)
    await node.stop()
  })

  it('with sudo: the same clone and its data go on, started by sudo, and the run file is the user’s', { skip: noSudo }, async () => {
    grant()
    const node = await start()
    assert.match(node.said(), /the node is started with sudo/)
    assert.equal(node.ready.sandbox.driver, 'runc')
    const runFile = path.join(clone, '.mayfly', 'run.json')
    assert.deepEqual([statSync(runFile).uid, statSync(runFile).mode & 0o777], [uid, 0o600])
    const { pid } = JSON.parse(readFileSync(runFile, 'utf8')) as { pid: number }
    assert.equal(statSync(`/proc/${pid}`).uid, 0)
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
    rmSync(RULE)
    const again = run('npm', ['start', '--silent', '--', '--port', '0'])
    assert.equal(again.code, 1, 'without sudo it is root’s now')
    assert.match(again.said, /the data of control belongs to another user\. Start the node as root/)
    assert.doesNotMatch(again.said, /\n\s+at /)
  })
})
