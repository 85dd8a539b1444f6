import assert from 'node:assert/strict'
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, mayfly, ROOT, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

const BIN = path.join(ROOT, 'bin', 'mayfly.js')
let folder = ''
let node: RunningMayfly
let second: RunningMayfly
let hello = ''

before(async () => {
  folder = makeFolder()
  hello = path.join(folder, 'hello')
  mkdirSync(hello)
  writeFileSync(path.join(hello, 'index.ts'), 'export const handler = async (event: { n: number }) => (console.log(`line ${event.n}`), event.n)')
  node = await startMayfly(path.join(folder, 'data'))
})
after(async () => {
  await Promise.all([node?.stop(), second?.stop()])
  removeFolder(folder)
})

// The pointers of the nodes of this test, and none of this user's own.
const here = () => ({ XDG_STATE_HOME: path.join(folder, 'state') })
/** As on a terminal. */
const onTerminal = (args: readonly string[], environment: Record<string, string> = {}) =>
  execFileSync('script', ['-qec', [process.execPath, BIN, ...args].map((arg) => `'${arg}'`).join(' '), '/dev/null'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TERM: 'xterm', ...here(), ...environment },
  })
const json = (args: readonly string[], environment = here()): unknown => {
  const { code, stdout, stderr } = mayfly([...args, '--json'], environment)
  assert.equal(code, 0, stderr)
  assert.equal(stdout.trim().split('\n').length, 1, 'one line')
  return JSON.parse(stdout)
}
const COLOUR = /\u001b\[\d+m/

describe('the command line', () => {
  it('lets no answer of a node move the cursor, and packs nothing beside the folder', async () => {
    const server = createServer((_request, response) => {
      response.writeHead(400, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ code: 'bad\u001b[2J', message: 'no\u001b]0;owned\u0007 such', hint: '\u009b2J' }))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const line = [process.execPath, BIN, 'ls', '--url', url, '--key', 'k'].map((arg) => `'${arg}'`).join(' ')
    const said = await new Promise<string>((resolve) => {
      execFile('script', ['-qec', line, '/dev/null'], { env: { ...process.env, TERM: 'xterm', ...here() } }, (_error, stdout) => resolve(stdout))
    })
    server.close()
    assert.match(said, /no\\x1b\]0;owned\\x07 such/)
    assert.doesNotMatch(said, /\u001b(?!\[\d+m)|[\u0007\u009b]/)
    mkdirSync(path.join(folder, 'hello-beside'))
    writeFileSync(path.join(folder, 'hello-beside', 'index.ts'), 'export const handler = () => 1')
    writeFileSync(path.join(hello, 'mayfly.json'), JSON.stringify({ handler: '../hello-beside/index.handler' }))
    const { code, stderr } = mayfly(['deploy', hello], here())
    writeFileSync(path.join(hello, 'mayfly.json'), '{}')
    assert.equal(code, 1)
    assert.doesNotMatch(stderr, /Deployed/)
  })
  it('deploys a folder with only an index.ts, and says what it sent and how long each step took', () => {
    const made = mayfly(['deploy', hello], here())
    assert.equal(made.code, 0)
    assert.match(made.stdout, /^hello: 1 file, [\d.]+ KiB\n/)
    for (const step of ['bundle', 'packages', 'zip', 'deploy']) assert.match(made.stdout, new RegExp(`^  ${step} +[\\d.]+ ms$`, 'm'))
    assert.match(made.stdout, /^ {2}send +[\d.]+ ms +[\d.]+ KiB sent$/m)
    assert.match(made.stdout, /^Deployed\.$/m)
    const [, url = '', key = ''] = /^Call it: curl -X POST (\S+) -H "apikey: (\S+)"$/m.exec(made.stdout) ?? []
    assert.deepEqual([url, key], [`${node.ready.project.url}/functions/v1/hello`, node.ready.project.publishableKey])
    const elsewhere = mayfly(['deploy', hello, '--url', node.ready.url, '--key', node.ready.project.secretKey], here())
    assert.ok(elsewhere.stdout.includes(`${node.ready.url}/p/demo/functions/v1/hello -H "apikey: <a key`), elsewhere.stdout)
    assert.doesNotMatch(made.stdout, COLOUR, 'plain in a pipe')
    const again = mayfly(['deploy', hello], here())
    assert.match(again.stdout, /nothing to send.*\n.*\nNothing changes/)
  })

  it('deploys by mayfly.json, and with a native package', () => {
    const by = path.join(folder, 'by-definition')
    mkdirSync(path.join(by, 'src'), { recursive: true })
    writeFileSync(path.join(by, 'mayfly.json'), JSON.stringify({ name: 'chosen', handler: 'main.run', memory: 192, timeout: 7, environment: { A: 'b' } }))
    writeFileSync(path.join(by, 'src', 'deep.ts'), 'export const answer: number = 42')
    writeFileSync(path.join(by, 'main.ts'), "import { answer } from './src/deep.ts'\nexport const run = async () => ({ answer, a: process.env.A })")
    const made = json(['deploy', by]) as { function: Record<string, unknown>; sentBytes: number; steps: { what: string }[] }
    assert.deepEqual([made.function.name, made.function.memory, made.function.timeout], ['chosen', 192, 7])
    assert.ok(made.sentBytes > 0)
    assert.deepEqual(
      made.steps.map((step) => step.what),
      ['bundle', 'packages', 'zip', 'send', 'deploy'],
    )
    assert.deepEqual((json(['invoke', 'chosen']) as { payload: unknown }).payload, { answer: 42, a: 'b' })
    // Where no folder is named it is this one, if it says by a mayfly.json that it is meant.
    const inside = spawnSync(process.execPath, [BIN, 'deploy'], { cwd: by, encoding: 'utf8', env: { ...process.env, ...here() } })
    assert.match(inside.stdout, /Nothing changes/)
    const nameless = spawnSync(process.execPath, [BIN, 'deploy'], { cwd: hello.replace(/hello$/, ''), encoding: 'utf8', env: { ...process.env, ...here() } })
    assert.deepEqual([nameless.status, nameless.stderr], [2, 'deploy: say which folder, or run it in one that has a mayfly.json\n'])
    const native = json(['deploy', path.join(ROOT, 'examples', 'thumbnail')]) as { packages: string[] }
    assert.ok(native.packages.includes('sharp'), native.packages.join())
    const bad = path.join(folder, 'bad')
    mkdirSync(bad)
    writeFileSync(path.join(bad, 'index.ts'), 'export const handler = (')
    const refused = mayfly(['deploy', bad], here())
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /could not be bundled:\n {2}index\.ts:1:\d+: /)
    assert.doesNotMatch(refused.stderr, /npm install/)
    writeFileSync(path.join(bad, 'index.ts'), "import '@not/installed/deep'\nimport './absent.ts'\nexport const handler = 1")
    assert.match(mayfly(['deploy', bad], here()).stderr, /\nNot installed there: @not\/installed\. .*run `npm install` in it\.\n/)
    writeFileSync(path.join(bad, 'mayfly.json'), '{"memroy":1}')
    assert.match(mayfly(['deploy', bad], here()).stderr, /knows no field "memroy"/)
  })

  it('gives one JSON document from every command with --json', () => {
    writeFileSync(path.join(folder, 'event.json'), '{"n":7}')
    assert.equal((json(['invoke', 'hello', '--data', `@${path.join(folder, 'event.json')}`]) as { payload: number }).payload, 7)
    assert.ok((json(['ls']) as { functions: { name: string }[] }).functions.some((one) => one.name === 'hello'))
    assert.ok(Array.isArray((json(['usage']) as { usage: unknown }).usage))
    assert.deepEqual(json(['status']), node.ready)
    const report = json(['doctor']) as { ok: boolean; login: { confirmsEmail: boolean } }
    assert.deepEqual([report.ok, report.login.confirmsEmail], [true, false])
    assert.ok('settings' in (json(['config']) as object))
    const lines = mayfly(['logs', 'hello', '--json'], here()).stdout.trim().split('\n')
    assert.ok(lines.map((line) => (JSON.parse(line) as { text: string }).text).some((text) => text.endsWith('line 7')))
    assert.deepEqual(json(['rm', 'chosen']), { removed: 'chosen' })
  })

  it('shows colour and progress on a terminal, and heeds NO_COLOR', () => {
    const shown = onTerminal(['deploy', hello])
    assert.match(shown, COLOUR)
    assert.match(shown, /\r\u001b\[K.*bundle …/)
    assert.match(onTerminal(['ls']), COLOUR)
    assert.doesNotMatch(onTerminal(['ls'], { NO_COLOR: '1' }), COLOUR)
    assert.match(onTerminal(['status']), COLOUR)
  })

  it('says its version, and how the sandboxes of a node stand, in words', () => {
    assert.match(mayfly(['--version']).stdout, /^\d+\.\d+\.\d+\n$/)
    assert.match(mayfly(['status'], here()).stdout, /^ +\d+ waiting for a function, \d+ at work, \d+ kept for their next call$/m)
  })

  it('has --help for each command', () => {
    for (const command of ['up', 'deploy', 'invoke', 'logs', 'ls', 'rm', 'usage', 'status', 'config', 'doctor']) {
      const { code, stdout } = mayfly([command, '--help'])
      assert.equal(code, 0, command)
      assert.match(stdout, new RegExp(`^Usage: mayfly ${command} `))
      assert.match(stdout, /--json/)
    }
    const all = mayfly(['--help']).stdout
    for (const command of ['up', 'deploy', 'invoke', 'logs', 'ls', 'rm', 'usage', 'status', 'config', 'doctor'])
      assert.match(all, new RegExp(`^  ${command} `, 'm'))
  })

  const unnamed = () => {
    const at = path.join(folder, '한글 함수')
    mkdirSync(at, { recursive: true })
    writeFileSync(path.join(at, 'index.mjs'), 'export const handler = async () => 1')
    return at
  }
  const ends: [string, (url: string) => string[], number, RegExp][] = [
    ['no folder', () => ['deploy', '/nonexistent'], 1, /is not a folder/],
    ['a folder whose name is none of a function', () => ['deploy', unnamed()], 1, /"한글 함수" is none for a function .*: give it one by --name/],
    ['an unknown command', () => ['deplyo'], 2, /unknown command/],
    ['an unknown option', () => ['ls', '--what'], 2, /unknown option/],
    ['an unknown option of the node', () => ['config', '--what'], 2, /unknown option|--what/],
    ['an event that is no JSON', () => ['invoke', 'hello', '--data', '{n}'], 2, /not JSON/],
    ['an event that is nothing at all', () => ['invoke', 'hello', '--data', 'n'], 2, /neither JSON, nor @file, nor the data directory/],
    ['a count that is none', () => ['usage', '--days', 'x'], 2, /--days must be/],
    ['a URL without a key', (url) => ['ls', '--url', url], 2, /--url and --key .* go together/],
    ['a URL where nobody answers', () => ['ls', '--url', 'http://127.0.0.1:1', '--key', 'k'], 3, /no node answers at .*\n?.*mayfly up/],
    ['an event in a file that is not there', () => ['invoke', 'hello', '--data', '@/nonexistent'], 2, /cannot be read from a file: .*nonexistent/],
    ['a port that is none', () => ['up', '--port', 'x'], 2, /--port must be a whole number from 0 to 65535/],
    ['an option that is none', () => ['up', '--what'], 2, /mayfly up --help/],
    ['a key that is none', (url) => ['ls', '--url', url, '--key', 'sb_secret_no'], 4, /key_invalid/],
    ['a function that is not there', () => ['invoke', 'nothing'], 5, /no function named "nothing".*\nCheck the name/],
    ['the lines of a function that never was', () => ['logs', 'nothing'], 5, /no function named "nothing"/],
    ['a project that is not there', () => ['ls', '--project', 'nothing'], 5, /no project "nothing"/],
    ['a function that fails', () => ['invoke', 'throws'], 6, /^/],
  ]
  it('tells where a function failed by the lines of its own files, also of what it wrote before', () => {
    const broken = path.join(folder, 'broken')
    mkdirSync(path.join(broken, 'src'), { recursive: true })
    const source = (lines: number) => `${'\n'.repeat(lines)}export const pay = (n: number) => {\n  throw new Error(\`no \${n}\`)\n}\n`
    writeFileSync(path.join(broken, 'src', 'pay.ts'), source(3))
    writeFileSync(
      path.join(broken, 'index.ts'),
      `import { pay } from './src/pay.ts'
interface Order { readonly n: number }
export const handler = async ({ n }: Order) => {
  try {
    pay(n + 1)
  } catch (error) {
    console.error((error as Error).stack)
  }
  pay(n)
}
`,
    )
    assert.equal(mayfly(['deploy', broken], here()).code, 0)
    const trace = /^Error: no 7\n {4}at pay \(src\/pay\.ts:5:9\)\n {4}at \S*handler.* \(index\.ts:9:3\)$/
    const told = mayfly(['invoke', 'broken', '--data', '{"n":7}'], here())
    assert.equal(told.code, 6)
    assert.match((JSON.parse(told.stdout) as { trace: string[] }).trace.join('\n'), trace)
    const asJson = mayfly(['invoke', 'broken', '--data', '{"n":7}', '--json'], here())
    assert.match((JSON.parse(asJson.stdout) as { payload: { trace: string[] } }).payload.trace.join('\n'), trace)
    const log = mayfly(['logs', 'broken'], here()).stdout
    assert.match(log, /Error: no 8\n {4}at pay \(src\/pay\.ts:5:9\)\n {4}at \S*handler.* \(index\.ts:5:5\)\n\S+ \S/)
    assert.match(log, /"stack":\["Error: no 7"," {4}at pay \(src\/pay\.ts:5:9\)"," {4}at [^"]*handler[^"]* \(index\.ts:9:3\)"\]/)
    assert.doesNotMatch(log, /index\.mjs|runtime\//)
    // What ran before is not what the map of now speaks of; a published version keeps its own.
    assert.equal(mayfly(['deploy', broken, '--to', 'live'], here()).code, 0)
    writeFileSync(path.join(broken, 'src', 'pay.ts'), source(20))
    assert.equal(mayfly(['deploy', broken], here()).code, 0)
    assert.match(mayfly(['logs', 'broken'], here()).stdout, /task\/index\.mjs:\d+/)
    assert.match(mayfly(['invoke', 'broken', '--data', '{"n":7}'], here()).stdout, /src\/pay\.ts:22:9/)
    assert.match(mayfly(['invoke', 'broken:live', '--data', '{"n":7}'], here()).stdout, /src\/pay\.ts:5:9/)
  })
  it('ends with the documented exit code, and says what to do', () => {
    const throws = path.join(folder, 'throws')
    mkdirSync(throws)
    writeFileSync(path.join(throws, 'index.ts'), 'export const handler = () => { throw new Error("on purpose") }')
    assert.equal(mayfly(['deploy', throws], here()).code, 0)
    for (const [name, args, code, words] of ends) {
      const result = mayfly(args(node.ready.url), here())
      assert.equal(result.code, code, `${name}: ${result.stderr}`)
      assert.match(result.stderr, words, name)
      assert.doesNotMatch(result.stderr, /\n\s+at |\u001b/, name)
    }
    const documented = readFileSync(path.join(ROOT, 'docs', 'cli.md'), 'utf8')
    for (const code of new Set(ends.map((one) => one[2]))) assert.match(documented, new RegExp(`[ ,]${code} `))
  })

  it('shows where each setting came from', () => {
    const at = path.join(folder, 'mayfly.config.json')
    writeFileSync(at, '{"invoke":{"concurrency":7}}')
    const environment = { MAYFLY_CONFIG: at, MAYFLY_DRAIN_MS: '1234' }
    const { code, stdout } = mayfly(['config', '--json', '--host', '127.0.0.2'], environment)
    const { settings } = JSON.parse(stdout) as { settings: Record<string, unknown> }
    assert.equal(code, 0)
    assert.deepEqual(
      ['host', 'drain-ms', 'invoke-concurrency', 'port'].map((name) => settings[name]),
      [
        { value: '127.0.0.2', from: 'flag' },
        { value: 1234, from: 'environment' },
        { value: 7, from: 'file' },
        { value: 54321, from: 'default' },
      ],
    )
    assert.match(mayfly(['config'], environment).stdout, /^drain-ms +1234 +environment /m)
  })
})

describe('which node a command speaks to', () => {
  it('the one that runs, by its pointer', () => assert.deepEqual(json(['status']), node.ready))
  it('the one of --url and --key, with the secret key of a project too', () => {
    const { url, project } = node.ready
    assert.ok('functions' in (json(['ls', '--url', url, '--key', project.secretKey], { XDG_STATE_HOME: '/nonexistent' }) as object))
  })
  it('the one of MAYFLY_URL and MAYFLY_KEY', () => {
    const { url, project } = node.ready
    const environment = { XDG_STATE_HOME: '/nonexistent', MAYFLY_URL: url, MAYFLY_KEY: project.secretKey }
    assert.equal((json(['invoke', 'hello', '--data', '{"n":3}'], environment) as { payload: number }).payload, 3)
  })
  it('the one that runs, though one before it was killed and left its pointer', () => {
    const left = path.join(here().XDG_STATE_HOME, 'mayfly', 'nodes', `${path.basename(node.data)}-1.json`)
    writeFileSync(left, JSON.stringify({ data: node.data }))
    assert.deepEqual(json(['status']), node.ready)
    rmSync(left)
  })
  it('none of two when none is chosen: the error lists both', async () => {
    second = await startMayfly(path.join(folder, 'other data'))
    const result = mayfly(['ls'], here())
    assert.equal(result.code, 3)
    assert.match(result.stderr, /Several nodes are running; choose one with --data/)
    for (const one of [node, second]) assert.ok(result.stderr.includes(`--data ${JSON.stringify(one.data)}   ${one.ready.url}`), result.stderr)
    assert.deepEqual(json(['status', '--data', second.data]), second.ready)
    assert.equal(await second.stop(), 0)
    assert.deepEqual(json(['status']), node.ready, 'one again')
  })
})

describe('mayfly logs -f', () => {
  const follow = (args: readonly string[] = []) => {
    const child = spawn(process.execPath, [BIN, 'logs', '-f', 'hello', '--data', node.data, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    const said = { out: '', err: '' }
    child.stdout.on('data', (chunk: Buffer) => {
      said.out += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      said.err += chunk.toString()
    })
    return { child: child as ChildProcess, said }
  }
  const sees = async (said: { out: string; err: string }, words: RegExp) => {
    const deadline = performance.now() + 10_000
    while (!words.test(said.out)) {
      assert.ok(performance.now() < deadline, `${words} in: ${said.out}${said.err}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const call = (n: number) => assert.equal(mayfly(['invoke', 'hello', '--data', `{"n":${n}}`, '--data', node.data]).code, 0)

  it('shows what was and what comes, each line once, and ends on Ctrl-C with 0', async () => {
    call(100)
    const { child, said } = follow()
    await sees(said, /line 100\n/)
    for (const n of [101, 102]) {
      call(n)
      const from = performance.now()
      await sees(said, new RegExp(`line ${n}\\n.*REPORT .*\\n`, 's'))
      assert.ok(performance.now() - from < 3_000, 'it is live')
    }
    assert.equal(said.out.match(/line 101\n/g)?.length, 1)
    child.kill('SIGINT')
    assert.deepEqual(await once(child, 'exit'), [0, null])
    assert.equal(said.err, '')
  })
  it('ends by itself when the node stops, and says so', async () => {
    const { child, said } = follow(['--json'])
    await sees(said, /"text"/)
    const ended = once(child, 'exit')
    const from = performance.now()
    assert.equal(await node.stop(), 0)
    assert.ok(performance.now() - from < 5_000, 'who follows is not waited for')
    assert.deepEqual(await ended, [3, null])
    assert.match(said.err, /^The node at .* ended the stream|no node answers/)
    for (const line of said.out.trim().split('\n')) JSON.parse(line)
  })
})
