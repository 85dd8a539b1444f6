import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { createServer } from 'node:net'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { send } from './door-fixture.ts'
import { makeFolder, mayfly, processes, type Ready, removeFolder, ROOT, startMayfly } from './harness.ts'

/** The title of a page whose host name only browsers resolve. */
const pageAt = async (url: string): Promise<string | undefined> => {
  const { host, port } = new URL(url)
  const text = await new Promise<string>((resolve, reject) => {
    const request = get({ host: '127.0.0.1', port, path: '/', headers: { host } }, (response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => {
        body += chunk.toString()
      })
      response.on('end', () => resolve(body))
    })
    request.on('error', reject)
  })
  return /<title>(.*)<\/title>/.exec(text)?.[1]
}

/** A folder and all that it lies in, the nearest first. */
const ancestorsOf = (folder: string): string[] => [folder, ...(path.dirname(folder) === folder ? [] : ancestorsOf(path.dirname(folder)))]

const processesOf = (text: string) => processes().filter((one) => one.args.includes(text))

describe('mayfly up', () => {
  let folder = ''
  let data = ''
  let first: Ready
  before(() => {
    folder = makeFolder()
    // A path of 200 characters with a space, below a folder that only its owner may enter.
    const deep = path.join(folder, 'only mine', 'x'.repeat(60), 'y'.repeat(60), 'z'.repeat(40))
    mkdirSync(deep, { recursive: true })
    chmodSync(path.join(folder, 'only mine'), 0o700)
    data = path.join(deep, 'data')
    assert.ok(data.length >= 200)
  })
  after(() => removeFolder(folder))

  it('resizes a real photograph on an empty data directory, and writes one line of JSON when ready', async () => {
    const node = await startMayfly(data, [], {}, { fromNothing: true })
    first = node.ready
    assert.equal(node.stdout(), `${JSON.stringify(node.ready)}\n`)
    assert.deepEqual(Object.keys(node.ready), ['ready', 'url', 'console', 'project', 'accessKey', 'region', 'sandbox'])
    assert.match(node.ready.project.publishableKey, /^sb_publishable_[\w-]{22}_[\w-]{8}$/)
    assert.match(node.ready.project.secretKey, /^sb_secret_[\w-]{22}_[\w-]{8}$/)
    assert.match(node.stderr(), /Deployed photo-app in [\d.]+ s/)
    assert.match(node.stderr(), /Resized a photograph .*: 515\.6 KiB in, three sizes out, \d+\.\d KiB together/)
    assert.match(node.stderr(), /cold {2}\d+ ms from the upload to the last thumbnail, .*\(first-call: no sandbox had its code yet\)$/m)
    assert.match(node.stderr(), /warm {2}\d+ ms from the upload to the last thumbnail, \d+ of them in the function$/m)
    assert.match(node.stderr(), /both cost 0\.0000\d+ USD by the price list/)
    const thumbnails = /^ {2}thumbnails: (.*)$/m.exec(node.stderr())?.[1] as string
    for (const width of [64, 256, 1024])
      assert.equal(
        readFileSync(path.join(thumbnails, `deep-field-${width}.webp`))
          .subarray(8, 12)
          .toString(),
        'WEBP',
      )
    const page = /^ {2}your own picture: (http:\/\/photo-app\.demo\.localhost:\d+\/)$/m.exec(node.stderr())?.[1] as string
    assert.equal(await pageAt(page), 'Profile pictures')
    assert.equal(statSync(path.join(data, 'run.json')).mode & 0o777, 0o600)
    assert.equal(statSync(path.join(data, 'instance.key')).mode & 0o777, 0o600)
    for (const inner of ['artefacts', 'cache', 'sandboxes', 'journal']) assert.equal(statSync(path.join(data, inner)).mode & 0o777, 0o700, inner)

    const status = mayfly(['status', '--json', '--data', data])
    assert.deepEqual(JSON.parse(status.stdout), node.ready)
    assert.equal(await (await fetch(`${node.ready.url}/ready`)).text(), '{"ready":true}')
    assert.match((await send(node.ready.console, 'GET')).text, /<title>Mayfly console<\/title>/)
    assert.match(node.ready.console, /^http:\/\/console\.localhost:\d+$/)
    assert.equal(mayfly(['deploy', path.join(ROOT, 'examples', 'thumbnail'), '--data', data]).code, 0)
    assert.equal(await node.stop(), 0)
    assert.deepEqual(processesOf(data), [], 'nothing is left running')
    assert.equal(existsSync(path.join(data, 'run.json')), false)
  })

  it('starts again on the same port with the same keys, and does not redo the first job', async () => {
    const node = await startMayfly(data, [])
    assert.deepEqual(node.ready, first)
    const response = await fetch(`${node.ready.url}/functions/v1/thumbnail?width=10`, {
      method: 'POST',
      headers: { apikey: node.ready.project.publishableKey },
      body: readFileSync('examples/photos/cat.png'),
    })
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('x-mayfly-cold'), 'node-restart')
    assert.equal(response.headers.get('content-type'), 'image/webp')
    await response.arrayBuffer()
    assert.equal(node.stderr().match(/Resized a photograph/g)?.length, 1)

    const second = mayfly(['up', '--data', data, '--port', '0'])
    assert.equal(second.code, 1)
    assert.match(second.stderr, new RegExp(`Another node is running on the data directory .*, as process ${node.pid()}\\. Stop it`))
    await node.kill()
  })

  it('starts in the same instant after kill -9 of everything, with all that was left behind', async () => {
    const node = await startMayfly(data, [])
    assert.deepEqual(node.ready, first)
    const response = await fetch(`${node.ready.url}/functions/v1/thumbnail?width=10`, {
      method: 'POST',
      headers: { apikey: node.ready.project.publishableKey },
      body: readFileSync('examples/photos/cat.png'),
    })
    assert.equal(response.status, 200)
    await response.arrayBuffer()
    // The record of an execution is written just after its answer; one that a kill came before counts as cut.
    await new Promise((resolve) => setTimeout(resolve, 300))
    // Its children are the PostgreSQL servers: one is killed too, the other is left to notice.
    const children = readFileSync(`/proc/${node.pid()}/task/${node.pid()}/children`, 'utf8').trim().split(' ').map(Number)
    await node.kill()
    for (const pid of children.slice(0, 1)) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // it ended with the node
      }
    }
    const again = await startMayfly(data, [])
    assert.deepEqual(again.ready, first)
    const usage = mayfly(['usage', '--json', '--data', data])
    const rows = (JSON.parse(usage.stdout) as { usage: { functionName: string; executions: number }[] }).usage
    assert.equal(
      rows.reduce((sum, row) => sum + row.executions, 0),
      4,
      'every execution counts once',
    )
    assert.equal(await again.stop(), 0)
    assert.deepEqual(processesOf(data), [])
  })

  const refusals: [string, (at: string) => string[], RegExp, number][] = [
    [
      'a data directory of a newer version',
      (at) => (writeFileSync(path.join(at, 'instance.json'), '{"version":999,"instanceId":"x"}'), ['--data', at]),
      /written by a newer Mayfly/,
      1,
    ],
    ['a data directory that is a file', (at) => (writeFileSync(path.join(at, 'file'), ''), ['--data', path.join(at, 'file')]), /is not a directory/, 1],
    [
      'a missing instance key',
      (at) => (
        mkdirSync(path.join(at, 'pg')), writeFileSync(path.join(at, 'instance.json'), '{"version":1,"instanceId":"x","postgresMajor":18}'), ['--data', at]
      ),
      /instance key .* is missing/,
      1,
    ],
    ['an address that others can reach, without TLS', (at) => ['--data', at, '--host', '0.0.0.0'], /takes TLS .* or a proxy/, 2],
    ['an unknown option', (at) => ['--data', at, '--prot', '1'], /did you mean --port/, 2],
    ['a port that is none', (at) => ['--data', at, '--port', 'x'], /--port must be a whole number/, 2],
    [
      'a folder inside that is a link to nowhere',
      (at) => {
        symlinkSync(path.join(at, 'nowhere'), path.join(at, 'artefacts'))
        return ['--data', at, '--empty']
      },
      /does not start: .*artefacts.*choose another place/,
      1,
    ],
    ['a file system that is read-only', () => ['--data', '/proc/mayfly'], /cannot be used|not writable|read-only/, 1],
  ]
  for (const [name, make, message, code] of refusals) {
    it(`refuses ${name} in a clear sentence`, () => {
      const at = makeFolder()
      const made = make(at)
      const result = mayfly(['up', '--port', '0', ...made])
      assert.match(result.stderr, message)
      assert.doesNotMatch(result.stderr, /\n\s+at /, 'no stack')
      assert.equal(result.code, code)
      rmSync(at, { recursive: true })
    })
  }

  // What Docker leaves root of a container, which may then neither mount nor make namespaces.
  const LEFT = 'chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write setfcap'
  const asInContainer = [
    'setpriv',
    `--bounding-set=-all${LEFT.split(' ')
      .map((name) => `,+${name}`)
      .join('')}`,
  ]
  const noRoot = process.getuid?.() === 0 ? false : 'is of root alone'

  it('runs databases as root of a container that may do little, and says what functions take', { skip: noRoot }, async () => {
    const command = [...asInContainer, process.execPath, path.join(ROOT, 'bin', 'mayfly.js'), 'up']
    const at = makeFolder()
    chmodSync(at, 0o755)
    const hidden = path.join(at, 'hidden')
    mkdirSync(hidden, { mode: 0o700 })
    const refused = async (data: string, folder: string) =>
      await assert.rejects(startMayfly(data, ['--empty'], {}, { command }), (error: Error) => error.message.includes(`may not enter ${folder}, `))
    // The program itself may lie where nobody else can go.
    const closed = ancestorsOf(ROOT).find((one) => (statSync(one).mode & 0o001) === 0)
    if (closed !== undefined) {
      await refused(path.join(at, 'data'), closed)
      return removeFolder(at)
    }
    const node = await startMayfly(path.join(at, 'data'), ['--empty'], {}, { command })
    assert.equal(node.ready.sandbox.driver, 'none')
    assert.match(node.stderr(), /Functions cannot run: runc makes no sandbox here: .*Root must be allowed to make namespaces, mounts and control groups/)
    const headers = { apikey: node.ready.project.secretKey }
    assert.deepEqual(await (await fetch(`${node.ready.url}/storage/v1/bucket`, { headers })).json(), [])
    await node.stop()
    await refused(path.join(hidden, 'data'), hidden)
    removeFolder(at)
  })

  it('refuses a port in use by name', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    const at = makeFolder()
    const result = await new Promise<{ code: number; stderr: string }>((resolve) =>
      resolve(mayfly(['up', '--empty', '--data', path.join(at, 'd'), '--port', String(port)])),
    )
    server.close()
    assert.match(result.stderr, new RegExp(`Port ${port} on 127.0.0.1 is in use`))
    assert.equal(result.code, 1)
    removeFolder(at)
  })
})

describe('mayfly without a node', () => {
  it('shows the settings and the pinned Node without one', () => {
    const { code, stdout } = mayfly(['config', '--json'])
    assert.equal(code, 0)
    const shown = JSON.parse(stdout) as { node: string; settings: Record<string, { value: unknown; from: string }> }
    assert.ok(existsSync(shown.node))
    assert.deepEqual(shown.settings.port, { value: 54321, from: 'default' })
  })
  it('says that none runs, with the exit code for that', () => {
    const result = mayfly(['ls'], { XDG_STATE_HOME: '/nonexistent' })
    assert.equal(result.code, 3)
    assert.match(result.stderr, /No node is running/)
  })
  it('reports on this machine', () => {
    const { stdout } = mayfly(['doctor', '--json'])
    const report = JSON.parse(stdout) as { sandbox: string; limits: string[]; drivers: { name: string; why: string | null }[]; missing: { what: string }[] }
    const names = report.drivers.map(({ name }) => name)
    assert.deepEqual(names, ['crun', 'runc', 'gvisor', 'bwrap'])
    const here = report.drivers.filter(({ why }) => why === null).map(({ name }) => name)
    assert.ok(report.sandbox === 'none' ? here.length === 0 : here.includes(report.sandbox))
    // What the kernel does not hold is told, with what to do.
    if (report.sandbox !== 'none') assert.ok(report.limits.includes('memory') || report.missing.some(({ what }) => what.startsWith('memory')))
  })
})
