import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request as plainRequest } from 'node:http'
import { createServer, request as tlsRequest, type Server } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { makeFolder, mayfly, ROOT, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

const OPENSSL = '/usr/bin/openssl'

/** The few lines that a proxy before a node is: it ends TLS and says who came. */
function proxyTo(target: () => string, tls: { key: string; cert: string }): Server {
  const server = createServer(tls, (request, response) => {
    const before = request.headers['x-forwarded-for']
    const from = request.socket.remoteAddress ?? ''
    const headers = { ...request.headers, 'x-forwarded-for': before ? `${before}, ${from}` : from, 'x-forwarded-proto': 'https' }
    const url = new URL(target())
    const onwards = plainRequest({ host: url.hostname, port: url.port, method: request.method, path: request.url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    onwards.on('error', () => response.destroy())
    request.pipe(onwards)
  })
  return server.on('upgrade', ({ method, url: at, rawHeaders }: IncomingMessage, socket: Duplex, head: Buffer) => {
    const { hostname, port } = new URL(target())
    const onwards = connect(Number(port), hostname)
    const lines = rawHeaders.flatMap((name, n) => (n % 2 === 0 ? [`${name}: ${rawHeaders[n + 1]}`] : []))
    onwards.write(`${[`${method} ${at} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n`)
    onwards.write(head)
    socket.pipe(onwards).pipe(socket)
    for (const one of [socket, onwards]) one.on('error', () => [socket, onwards].forEach((other) => void other.destroy()))
  })
}

describe('a node behind a proxy that speaks TLS', { skip: existsSync(OPENSSL) ? false : 'needs the package openssl' }, () => {
  let folder = ''
  let node: RunningMayfly
  let operator = ''
  /** Where the node itself listens, past its proxy. */
  const own = () => local
  let local = ''
  let api: Server
  let door: Server
  let certificate = ''
  const portOf = (server: Server) => (server.address() as AddressInfo).port
  const home = () => ({ XDG_STATE_HOME: path.join(folder, 'state'), XDG_CONFIG_HOME: path.join(folder, 'config'), NODE_EXTRA_CA_CERTS: certificate })
  const publicUrl = () => `https://localhost:${portOf(api)}`

  before(async () => {
    folder = makeFolder()
    certificate = path.join(folder, 'cert.pem')
    const key = path.join(folder, 'key.pem')
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
    execFileSync(OPENSSL, ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', certificate, '-days', '1', ...subject], { stdio: 'ignore' })
    const tls = { key: readFileSync(key, 'utf8'), cert: readFileSync(certificate, 'utf8') }
    api = proxyTo(own, tls)
    // The ready line tells the console's public address; the port behind it is what the node listens on.
    door = proxyTo(() => consoleBehind, tls)
    for (const server of [api, door]) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const args = ['--empty', '--behind-proxy', '127.0.0.1/32', '--public-url', publicUrl(), '--console-url', `https://localhost:${portOf(door)}`]
    const consolePort = await freePort()
    consoleBehind = `http://127.0.0.1:${consolePort}`
    node = await startMayfly(path.join(folder, 'data'), [...args, '--console-port', String(consolePort)])
    const run = JSON.parse(readFileSync(path.join(folder, 'data', 'run.json'), 'utf8')) as { operatorToken: string; listens: string }
    operator = run.operatorToken
    local = run.listens
    assert.equal(node.ready.url, publicUrl())
    const shop = await ask('POST', '/api/v1/projects', operator, { ref: 'shop' })
    assert.equal(shop.status, 201)
    const hello = path.join(folder, 'hello')
    mkdirSync(hello)
    writeFileSync(
      path.join(hello, 'index.mjs'),
      "export const handler = async ({ headers, requestContext }) => ({ ip: requestContext?.http.sourceIp, proto: headers?.['x-forwarded-proto'] })",
    )
  })
  after(async () => {
    await node?.stop()
    for (const server of [api, door]) {
      server?.closeAllConnections()
      server?.close()
    }
    removeFolder(folder)
  })
  let consoleBehind = ''

  const ask = async (method: string, at: string, key: string, body?: object) => {
    const response = await fetch(`${own()}${at}`, {
      method,
      headers: { authorization: `Bearer ${key}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, json: (text.startsWith('{') ? JSON.parse(text) : {}) as Record<string, unknown> }
  }
  const cli = (args: readonly string[], environment: Record<string, string> = {}) => mayfly(args, { ...home(), ...environment })
  const json = <T>(args: readonly string[], environment: Record<string, string> = {}): T => {
    const { code, stdout, stderr } = cli([...args, '--json'], environment)
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as T
  }
  /** The command line with something on its standard input, while the proxy of this process serves it. */
  const withInput = (args: readonly string[], input: string, environment: Record<string, string> = {}) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const child = execFile(
        process.execPath,
        [path.join(ROOT, 'cli', 'main.ts'), ...args],
        { env: { ...process.env, ...home(), ...environment } },
        (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      )
      child.stdin?.end(input)
    })
  const tokenOf = (name: string, ...more: string[]) =>
    json<{ token: string }>(['tokens', 'create', name, '--project', 'shop', '--url', own(), '--key', operator, ...more]).token

  it('its authority is trusted by the command where the machine trusts it, or where it is named, and nowhere else', async () => {
    const asked = (environment: Record<string, string>, command: readonly string[] = ['ls']) =>
      withInput([...command, '--url', publicUrl(), '--key', operator, '--project', 'shop'], '', { NODE_EXTRA_CA_CERTS: '', ...environment })
    // The second speaks over a WebSocket from the start.
    const psql = ['db', 'psql', '-c', 'select 1']
    for (const command of [['ls'], psql])
      for (const environment of [{ SSL_CERT_FILE: certificate }, { NODE_EXTRA_CA_CERTS: certificate }]) {
        const { code, stderr } = await asked(environment, command)
        assert.equal(code, 0, `${command}: ${stderr}`)
      }
    assert.equal((await asked({}, psql)).code, 3)
    const refused = await asked({})
    assert.equal(refused.code, 3)
    assert.match(
      refused.stderr,
      /no node answers at https:\S+ \(self-signed certificate\)\. This machine knows nobody who signed its certificate; .*NODE_EXTRA_CA_CERTS/,
    )
    assert.doesNotMatch(refused.stderr, /--use-system-ca/)
  })

  it('a build server deploys by address and token alone, to its project', async () => {
    const token = tokenOf('ci')
    const ci = { MAYFLY_URL: own(), MAYFLY_TOKEN: token }
    const made = cli(['deploy', path.join(folder, 'hello')], ci)
    assert.equal(made.code, 0, made.stderr)
    assert.match(made.stdout, /^Deployed\.$/m)
    assert.equal(cli(['deploy', path.join(folder, 'hello'), '--to', 'live'], ci).code, 0)
    const functions = (await ask('GET', '/api/v1/projects/shop/functions', operator)).json.functions as { name: string }[]
    assert.deepEqual(
      functions.map((one) => one.name),
      ['hello'],
    )
    // A whole project too, and the second time nothing changes.
    const site = path.join(folder, 'site')
    mkdirSync(path.join(site, 'pages'), { recursive: true })
    writeFileSync(path.join(site, 'pages', 'index.html'), '<h1>hello</h1>')
    writeFileSync(path.join(site, 'mayfly.json'), JSON.stringify({ sites: [{ name: 'front', folder: 'pages' }], buckets: [{ name: 'things' }] }))
    const whole = cli(['deploy', site], ci)
    assert.equal(whole.code, 0, whole.stderr)
    assert.match(cli(['deploy', site], ci).stdout, /Nothing changes/)
    const { tokens } = json<{ tokens: { name: string; lastUsedAt: string | null }[] }>(['tokens', 'ls', '--project', 'shop', '--url', own(), '--key', operator])
    assert.equal(tokens.length, 1)
    assert.notEqual(tokens[0]?.lastUsedAt, null)
  })

  it('a token does nothing else, nowhere else', async () => {
    const token = tokenOf('narrow')
    for (const [method, at] of [
      ['GET', '/api/v1/projects/shop/functions'],
      ['GET', '/api/v1/projects/shop/deployments'],
      ['GET', '/api/v1/projects/shop/artefacts/' + '0'.repeat(64)],
      ['GET', '/api/v1/projects/shop/functions/hello/versions'],
      ['POST', '/api/v1/projects/shop/functions/hello/versions'],
      ['PUT', '/api/v1/projects/shop/functions/hello/aliases/live'],
      ['DELETE', '/api/v1/projects/shop/functions/hello/aliases/live'],
      ['GET', '/api/v1/projects/shop/functions/hello/invocations'],
      ['GET', '/api/v1/projects/shop/dead-letters'],
      ['POST', '/api/v1/projects/shop/functions/hello/invoke'],
      ['GET', '/api/v1/projects/shop/functions/hello/logs'],
      ['DELETE', '/api/v1/projects/shop/functions/hello'],
      ['GET', '/api/v1/projects/shop/secrets'],
      ['PUT', '/api/v1/projects/shop/secrets'],
      ['GET', '/api/v1/projects/shop/tokens'],
      ['POST', '/api/v1/projects/shop/tokens'],
      ['DELETE', '/api/v1/projects/shop/tokens/ci'],
      ['GET', '/api/v1/projects/shop'],
      ['GET', '/api/v1/projects/shop/keys'],
      ['DELETE', '/api/v1/projects/shop'],
      ['GET', '/api/v1/projects/shop/usage'],
      ['GET', '/api/v1/projects'],
      ['POST', '/api/v1/projects'],
      ['GET', '/api/v1/status'],
      ['POST', '/api/v1/console-logins'],
      ['POST', '/p/shop/functions/v1/hello'],
      ['GET', '/p/shop/storage/v1/bucket'],
    ] as const) {
      const { status, json } = await ask(method, at, token)
      assert.deepEqual([status, json.code ?? json.error], [403, 'not_allowed'], `${method} ${at}: ${JSON.stringify(json)}`)
    }
    // What a deploy asks for stays what it was: a look at one function tells no value of its environment.
    const { json: seen } = await ask('GET', '/api/v1/projects/shop/functions/hello', token)
    assert.equal('environment' in (seen.function as object), false, JSON.stringify(seen))
    const listed = cli(['ls'], { MAYFLY_URL: own(), MAYFLY_TOKEN: token })
    assert.equal(listed.code, 4)
    assert.match(listed.stderr, /a deploy token asks for what `mayfly deploy` asks for/)
    for (const at of ['/api/v1/projects/demo/functions/hello', '/api/v1/projects/demo/deployments/x', '/api/v1/projects/nowhere/functions/hello'])
      assert.equal((await ask('GET', at, token)).status, 401, at)
    assert.equal((await ask('PUT', '/api/v1/projects/demo/functions/hello', token, {})).status, 401)
    assert.deepEqual((await ask('GET', '/api/v1/whoami', token)).json, { kind: 'deployer', project: 'shop' })
    const elsewhere = cli(['deploy', path.join(folder, 'hello'), '--project', 'demo'], { MAYFLY_URL: own(), MAYFLY_TOKEN: token })
    assert.equal(elsewhere.code, 4, elsewhere.stderr)
  })

  it('a token that was revoked opens nothing from then on, and wrong ones never did', async () => {
    const token = tokenOf('short', '--expires', '1h')
    assert.equal((await ask('GET', '/api/v1/whoami', token)).status, 200)
    assert.equal(cli(['tokens', 'rm', 'short', '--project', 'shop', '--url', own(), '--key', operator]).code, 0)
    assert.equal((await ask('GET', '/api/v1/whoami', token)).status, 401)
    const refused = cli(['deploy', path.join(folder, 'hello')], { MAYFLY_URL: own(), MAYFLY_TOKEN: token })
    assert.equal(refused.code, 4, refused.stderr)
    assert.match(refused.stderr, /this deploy token was revoked, or is none of this node\nMake another .*mayfly tokens create/)
    assert.equal((await ask('GET', '/api/v1/whoami', `${token.slice(0, -1)}-`)).status, 401)
    assert.equal(cli(['tokens', 'rm', 'short', '--project', 'shop', '--url', own(), '--key', operator]).code, 5)
    assert.equal(cli(['tokens', 'create', 'x', '--expires', 'never', '--project', 'shop', '--url', own(), '--key', operator]).code, 2)
    const lines = node.stderr()
    assert.ok(lines.includes('the deploy token short was revoked') && !lines.includes(token.slice(-20)), 'said, and never shown')
  })

  it('login keeps a key for nobody else to read, over TLS, and commands go there', async () => {
    const refused = await withInput(['login', publicUrl(), '--profile', 'far'], 'mayfly_token_shop_wrong')
    assert.equal(refused.code, 4, refused.stderr)
    const publishable = await withInput(['login', publicUrl()], node.ready.project.publishableKey)
    assert.equal(publishable.code, 2, publishable.stderr)
    assert.equal((await withInput(['login', 'http://example.com', '--token-stdin'], operator)).code, 2)
    const file = path.join(folder, 'config', 'mayfly', 'profiles.json')
    assert.equal(existsSync(file), false)

    const done = await withInput(['login', publicUrl(), '--profile', 'far', '--token-stdin', '--json'], `${operator}\n`)
    assert.deepEqual(JSON.parse(done.stdout), { profile: 'far', url: publicUrl(), project: 'demo', kind: 'operator' })
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.equal(statSync(path.dirname(file)).mode & 0o077, 0)
    const listed = await withInput(['ls', '--project', 'shop', '--json'], '')
    assert.match(listed.stdout, /"name":"hello"/, listed.stderr)
    const token = tokenOf('person')
    assert.equal((await withInput(['login', publicUrl(), '--profile', 'shop'], token)).code, 0)
    const own = await withInput(['deploy', path.join(folder, 'hello')], '')
    assert.match(own.stdout, /Nothing changes/, own.stderr)
    assert.equal((await withInput(['logs', 'hello', '--profile', 'shop'], '')).code, 4)
    assert.equal((await withInput(['projects', '--profile', 'far'], '')).code, 0)

    const shown = cli(['profiles'])
    assert.match(shown.stdout, /^\* +shop +https:\/\/localhost:\d+ +shop$/m)
    assert.ok(!shown.stdout.includes(token.slice(-20)))
    // The node of this machine is found again.
    assert.equal(cli(['profiles', 'use', 'local']).code, 0)
    assert.equal(json<{ url: string }>(['status']).url, publicUrl())
    assert.equal(cli(['profiles', 'rm', 'shop']).code, 0)
    assert.equal(cli(['ls', '--profile', 'shop']).code, 2)
  })

  it('believes of who came and how what its proxies say, and nobody else', async () => {
    const hello = await withInput(['deploy', path.join(folder, 'hello'), '--url', own(), '--key', operator], '')
    assert.equal(hello.code, 0, hello.stderr)
    const call = (ask: typeof plainRequest, port: number, headers: Record<string, string>, localAddress: string) =>
      new Promise<{ ip: string; proto: string }>((resolve, reject) => {
        const options = {
          host: '127.0.0.1',
          servername: 'localhost',
          port,
          localAddress,
          method: 'POST',
          path: '/functions/v1/hello',
          rejectUnauthorized: false,
        }
        const request = ask(
          { ...options, headers: { host: `localhost:${port}`, apikey: node.ready.project.publishableKey, ...headers } },
          (answer: IncomingMessage) => {
            let text = ''
            answer.setEncoding('utf8')
            answer.on('data', (chunk: string) => {
              text += chunk
            })
            answer.on('end', () => resolve(JSON.parse(text) as { ip: string; proto: string }))
          },
        )
        request.on('error', reject)
        request.end()
      })
    const lies = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'https' }
    assert.deepEqual(await call(tlsRequest as typeof plainRequest, portOf(api), { 'x-forwarded-for': '203.0.113.9' }, '127.0.0.3'), {
      ip: '127.0.0.3',
      proto: 'https',
    })
    // The same words by a way that nobody vouches for.
    assert.deepEqual(await call(plainRequest, Number(new URL(own()).port), lies, '127.0.0.2'), { ip: '127.0.0.2', proto: 'http' })
  })

  it('the console has a Secure cookie of its own host, and addresses are what the world sees', async () => {
    const { url } = json<{ url: string }>(['console'])
    assert.ok(url.startsWith(`https://localhost:${portOf(door)}/`), url)
    const code = /[#&]code=([\w-]+)/.exec(url)?.[1] ?? url.split('#').at(-1) ?? ''
    const signIn = (to: string, ask: typeof plainRequest, localAddress: string, headers: Record<string, string>) =>
      new Promise<IncomingMessage>((resolve, reject) => {
        const at = new URL(to)
        const options = { host: '127.0.0.1', servername: 'localhost', port: at.port, localAddress, method: 'POST', path: '/session', rejectUnauthorized: false }
        const request = ask({ ...options, headers: { host: at.host, origin: at.origin, 'content-type': 'application/json', ...headers } }, (answer) => {
          answer.resume()
          answer.on('end', () => resolve(answer))
        })
        request.on('error', reject)
        request.end(JSON.stringify({ code }))
      })
    // Said by somebody who is no proxy, it is not TLS, and the page is another origin's.
    const behind = consoleBehind.replace('127.0.0.1', 'localhost')
    const lied = await signIn(behind.replace('http:', 'https:'), plainRequest, '127.0.0.2', { 'x-forwarded-proto': 'https' })
    assert.equal(lied.statusCode, 403)
    const signedIn = await signIn(`https://localhost:${portOf(door)}`, tlsRequest as typeof plainRequest, '127.0.0.1', {})
    assert.equal(signedIn.statusCode, 204)
    const cookie = signedIn.headers['set-cookie']?.[0] ?? ''
    assert.match(cookie, /^__Host-mayfly_console=[\w-]+; Path=\/; .*HttpOnly; SameSite=Strict; Secure$/)
  })
})

async function freePort(): Promise<number> {
  const { createServer: plain } = await import('node:net')
  const server = plain()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
