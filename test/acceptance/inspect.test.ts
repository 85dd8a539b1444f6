import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { SourceMap, type SourceMapPayload } from 'node:module'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { makeFolder, mayfly, ROOT, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

/** A client of the Chrome DevTools Protocol, as editors have one. */
class DevTools {
  readonly #ws: WebSocket
  readonly events: { readonly method: string; readonly params: Record<string, unknown> }[] = []
  readonly closed: Promise<void>
  readonly #answers = new Map<number, (message: { result?: unknown; error?: { message: string } }) => void>()
  #heard = Promise.withResolvers<void>()
  #id = 0

  constructor(ws: WebSocket) {
    this.#ws = ws
    this.closed = new Promise((resolve) => ws.once('close', () => resolve()))
    ws.on('message', (data) => {
      const message = JSON.parse(String(data)) as { id?: number; method: string; params: Record<string, unknown> }
      if (message.id !== undefined) return this.#answers.get(message.id)?.(message as object)
      this.events.push(message)
      this.#heard.resolve()
      this.#heard = Promise.withResolvers()
    })
  }
  static async attach(port: number): Promise<DevTools> {
    const [target] = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as [{ webSocketDebuggerUrl: string }]
    const ws = new WebSocket(target.webSocketDebuggerUrl)
    await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject))
    return new DevTools(ws)
  }
  async send<T = object>(method: string, params: object = {}): Promise<T> {
    const id = ++this.#id
    const answer = new Promise<{ result?: unknown; error?: { message: string } }>((resolve) => this.#answers.set(id, resolve))
    this.#ws.send(JSON.stringify({ id, method, params }))
    const { result, error } = await Promise.race([answer, this.closed.then(() => ({ result: null, error: { message: 'the connection was closed' } }))])
    if (error) throw new Error(`${method}: ${error.message}`)
    return result as T
  }
  async event<T>(method: string, fits: (params: T) => boolean = () => true): Promise<T> {
    for (;;) {
      const found = this.events.find((one) => one.method === method && fits(one.params as T))
      if (found) return found.params as T
      await Promise.race([this.#heard.promise, this.closed.then(() => Promise.reject(new Error(`closed before ${method}`)))])
    }
  }
  close(): void {
    this.#ws.close()
  }
}

const SOURCE = `import { greetingOf } from './greeting.ts'
let calls = 0
export const handler = async (event: { body: string }, context: { getRemainingTimeInMillis(): number }) => {
  calls++
  const greeting = greetingOf(JSON.parse(event.body).name)
  return { greeting, calls }
}
`

/** Where a line of the user's file is in what runs. */
function placeOf(sourceMapUrl: string, file: string, line: number): { readonly lineNumber: number; readonly columnNumber: number } {
  const map = new SourceMap(JSON.parse(Buffer.from(sourceMapUrl.split(',')[1] ?? '', 'base64').toString()) as SourceMapPayload)
  for (let lineNumber = 0; lineNumber < 200; lineNumber++)
    for (let columnNumber = 0; columnNumber < 40; columnNumber++) {
      const entry = map.findEntry(lineNumber, columnNumber)
      if ('originalSource' in entry && entry.originalSource.endsWith(file) && entry.originalLine + 1 === line) return { lineNumber, columnNumber }
    }
  throw new Error(`nothing of ${file}:${line} runs`)
}

describe('mayfly inspect', () => {
  let folder = ''
  let node: RunningMayfly
  const commands: ChildProcess[] = []
  const here = () => ({ XDG_STATE_HOME: path.join(folder, 'state') })
  const url = () => node.ready.project.url
  const secret = () => node.ready.project.secretKey
  const operator = () => (JSON.parse(readFileSync(path.join(folder, 'data', 'run.json'), 'utf8')) as { operatorToken: string }).operatorToken
  const sandboxIds = async () => {
    const answer = await fetch(`${node.ready.url}/api/v1/status`, { headers: { authorization: `Bearer ${operator()}` } })
    return ((await answer.json()) as { pool: { sandboxes: { id: string }[] } }).pool.sandboxes.map(({ id }) => id)
  }
  const call = async (name: string) => {
    const answer = await fetch(`${url()}/functions/v1/${name}`, { method: 'POST', headers: { apikey: secret() }, body: '{"name":"Ada"}' })
    return { status: answer.status, body: (await answer.json()) as object }
  }
  /** `mayfly inspect` as a user runs it; its first line says where. */
  const inspect = async (name: string) => {
    const child = spawn(process.execPath, [path.join(ROOT, 'bin', 'mayfly.js'), 'inspect', name, '--port', '0', '--json'], {
      env: { ...process.env, ...here() },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    commands.push(child)
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    let said = ''
    child.stdout.setEncoding('utf8')
    const port = await new Promise<number>((resolve, reject) => {
      child.stdout.on('data', (more: string) => {
        said += more
        const first = /"port":(\d+)/.exec(said)?.[1]
        if (first !== undefined) resolve(Number(first))
      })
      void ended.then((code) => reject(new Error(`inspect ended with ${code}`)))
    })
    return { port, ended, child, said: () => said }
  }
  const attempt = (at: string, headers: Record<string, string>): Promise<{ status: number; code?: string; socket?: WebSocket }> =>
    new Promise((resolve) => {
      const socket = new WebSocket(`${node.ready.url.replace('http', 'ws')}${at}`, { headers })
      socket.on('error', () => {})
      socket.once('open', () => resolve({ status: 101, socket }))
      socket.once('unexpected-response', (_, answer) => {
        let text = ''
        answer.on('data', (more: Buffer) => {
          text += more.toString()
        })
        answer.once('end', () => resolve({ status: answer.statusCode ?? 0, code: (JSON.parse(text) as { code: string }).code }))
      })
    })

  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'))
    const write = (file: string, text: string) => {
      mkdirSync(path.dirname(path.join(folder, file)), { recursive: true })
      writeFileSync(path.join(folder, file), text)
    }
    write('hello/index.ts', SOURCE)
    write('hello/greeting.ts', 'export const greetingOf = (name: string) => `Hello, ${name}`\n')
    write('hello/mayfly.json', '{ "name": "hello", "timeout": 1 }')
    write('once/index.mjs', 'export const handler = async () => ({ once: true })\n')
    write('once/mayfly.json', '{ "name": "once", "reuse": "never" }')
    write('snake/main.py', 'def handler(event, context):\n    return {}\n')
    write('snake/mayfly.json', '{ "name": "snake", "runtime": "python3.11", "handler": "main.handler" }')
    for (const name of ['hello', 'once', 'snake']) {
      const made = mayfly(['deploy', path.join(folder, name)], here())
      assert.equal(made.code, 0, made.stderr)
    }
  })
  after(async () => {
    for (const child of commands) child.kill('SIGTERM')
    await node?.stop()
    removeFolder(folder)
  })

  it('a breakpoint in a file of one’s own stops a call, whose time does not run; variables are read, and it goes on', async () => {
    const { port, child, ended } = await inspect('hello')
    const tools = await DevTools.attach(port)
    await tools.send('Debugger.enable')
    const script = await tools.event<{ scriptId: string; url: string; sourceMapURL: string }>(
      'Debugger.scriptParsed',
      (one) => one.url === 'file:///var/task/index.mjs' && one.sourceMapURL.startsWith('data:'),
    )
    const { breakpointId } = await tools.send<{ breakpointId: string }>('Debugger.setBreakpointByUrl', {
      url: script.url,
      ...placeOf(script.sourceMapURL, 'index.ts', 6),
    })
    const answer = call('hello')
    const { callFrames, hitBreakpoints } = await tools.event<{ callFrames: { callFrameId: string; functionName: string }[]; hitBreakpoints: string[] }>(
      'Debugger.paused',
    )
    assert.deepEqual([hitBreakpoints, callFrames[0]?.functionName], [[breakpointId], 'handler'])
    const evaluate = async (expression: string) =>
      (await tools.send<{ result: { value: unknown } }>('Debugger.evaluateOnCallFrame', { callFrameId: callFrames[0]?.callFrameId, expression })).result.value
    assert.equal(await evaluate('greeting'), 'Hello, Ada')
    // It stands for longer than it may take.
    while (await evaluate('context.getRemainingTimeInMillis() > 0')) await new Promise((resolve) => setTimeout(resolve, 50))
    await tools.send('Debugger.resume')
    assert.deepEqual(await answer, { status: 200, body: { greeting: 'Hello, Ada', calls: 1 } })
    // The next comes to the same sandbox, and not to a second one.
    await tools.send('Debugger.removeBreakpoint', { breakpointId })
    assert.deepEqual((await call('hello')).body, { greeting: 'Hello, Ada', calls: 2 })
    const second = await attempt('/inspect/v1/websocket?function=hello', { apikey: secret() })
    assert.deepEqual([second.status, second.code], [409, 'inspected_already'])
    // What was looked into serves nobody when the debugger has left.
    const [before] = await sandboxIds()
    tools.close()
    while ((await sandboxIds()).includes(before as string)) await new Promise((resolve) => setTimeout(resolve, 20))
    assert.deepEqual((await call('hello')).body, { greeting: 'Hello, Ada', calls: 1 })
    child.kill('SIGINT')
    assert.equal(await ended, 0)
  })

  it('a debugger that leaves lets the call go on', async () => {
    const { port } = await inspect('hello')
    const tools = await DevTools.attach(port)
    await tools.send('Debugger.enable')
    await tools.send('Debugger.pause')
    const answer = call('hello')
    await tools.event('Debugger.paused')
    tools.close()
    assert.equal((await answer).status, 200)
  })

  it('`node inspect` finds it; where each sandbox serves one call, that call is the one', async () => {
    const { port, said } = await inspect('once')
    const client = spawn(process.execPath, ['inspect', `127.0.0.1:${port}`], { stdio: ['pipe', 'pipe', 'inherit'] })
    commands.push(client)
    let text = ''
    const until = (wanted: RegExp) =>
      new Promise<void>((resolve) => {
        const look = () => wanted.test(text) && resolve()
        client.stdout.on('data', look)
        look()
      })
    client.stdout.on('data', (more: Buffer) => {
      text += more.toString()
    })
    await until(/debug> $/)
    client.stdin.write('exec("process.env.AWS_LAMBDA_FUNCTION_NAME")\n')
    await until(/'once'/)
    const left = new Promise((resolve) => client.once('exit', resolve))
    assert.deepEqual(await call('once'), { status: 200, body: { once: true } })
    client.stdin.end('.exit\n')
    await left
    while (!said().includes('"detached"')) await new Promise((resolve) => setTimeout(resolve, 20))
  })

  it('what has no inspector says so, and so does a name that is not there', async () => {
    const python = mayfly(['inspect', 'snake', '--port', '0'], here())
    assert.equal(python.code, 2)
    assert.match(python.stderr, /snake runs on python3\.\d+; only functions on Node have an inspector/)
    assert.equal(mayfly(['inspect', 'nobody', '--port', '0'], here()).code, 5)
    const refused = await attempt('/inspect/v1/websocket?function=snake', { apikey: secret() })
    assert.deepEqual([refused.status, refused.code], [409, 'not_inspectable'])
  })

  it("'ws /inspect/v1/websocket': takes the operator or the secret key of the project, and nobody else", async () => {
    const token = JSON.parse(mayfly(['tokens', 'create', 'ci', '--json'], here()).stdout) as { token: string }
    const made = await fetch(`${node.ready.url}/api/v1/projects`, {
      method: 'POST',
      headers: { authorization: `Bearer ${operator()}`, 'content-type': 'application/json' },
      body: '{"ref":"shop"}',
    })
    const { keys: shop } = (await made.json()) as { keys: { secretKey: string } }
    const at = '/inspect/v1/websocket?function=hello'
    for (const [who, headers, status, code] of [
      ['nobody', {}, 401, 'key_missing'],
      ['the publishable key', { apikey: node.ready.project.publishableKey }, 403, 'not_allowed'],
      ['a deploy token', { apikey: token.token }, 403, 'not_allowed'],
      ['another project', { apikey: shop.secretKey }, 401, 'key_invalid'],
      ['a cookie', { cookie: `apikey=${secret()}` }, 401, 'key_missing'],
    ] as const) {
      const answer = await attempt(at, headers)
      assert.deepEqual([answer.status, answer.code], [status, code], who)
    }
    const elsewhere = await attempt(`/p/shop${at}`, { apikey: shop.secretKey })
    assert.deepEqual([elsewhere.status, elsewhere.code], [404, 'function_not_found'])
    const own = await attempt(at, { apikey: secret() })
    assert.equal(own.status, 101)
    own.socket?.terminate()
  })

  it('from inside a function nobody comes there, not even with its own key', async () => {
    writeFileSync(
      path.join(folder, 'once', 'index.mjs'),
      `export const handler = async () => {
  const headers = { apikey: process.env.MAYFLY_KEY, connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'MDEyMzQ1Njc4OWFiY2RlZg==' }
  const { request } = await import('node:http')
  const url = new URL(process.env.MAYFLY_URL + '/inspect/v1/websocket?function=hello')
  return await new Promise((resolve, reject) => {
    const asked = request(url, { headers }, (answer) => resolve({ status: answer.statusCode }))
    asked.once('upgrade', () => resolve({ status: 101 })).once('error', reject).end()
  })
}
`,
    )
    assert.equal(mayfly(['deploy', path.join(folder, 'once')], here()).code, 0)
    assert.deepEqual((await call('once')).body, { status: 404 })
  })
})
