import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'
import { Dev, type DevEvent } from './dev-fixture.ts'
import { send } from './door-fixture.ts'

const childrenOf = (pid: number): number[] =>
  readdirSync(`/proc/${pid}/task`).flatMap((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1').split(' ').filter(Boolean).map(Number))
const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))
  } catch {
    return false
  }
}

describe('mayfly dev', () => {
  let folder = ''
  let node: RunningMayfly
  let operator = ''
  let app = ''
  const running: Dev[] = []
  const here = () => ({ XDG_STATE_HOME: path.join(folder, 'state'), XDG_CONFIG_HOME: path.join(folder, 'config') })
  const notes = () => {
    try {
      return readdirSync(path.join(folder, 'state', 'mayfly', 'dev'))
    } catch {
      return []
    }
  }
  const projects = async () => {
    const answer = await fetch(`${node.ready.url}/api/v1/projects`, { headers: { authorization: `Bearer ${operator}` } })
    return ((await answer.json()) as { projects: { ref: string; name: string }[] }).projects.map((one) => one.ref)
  }
  /** Of the session itself, behind the launcher. */
  const pidOf = (open: DevEvent) => Number(/"pid":(\d+)/.exec(readFileSync(path.join(folder, 'state', 'mayfly', 'dev', `${open.ref}.json`), 'utf8'))?.[1])
  const start = (at: string) => {
    const dev = new Dev(at, here())
    running.push(dev)
    return dev
  }
  const call = async (deployed: DevEvent, name: string) => {
    const answer = await fetch(`${deployed.base}/functions/v1/${name}`, { headers: { apikey: String(deployed.key) } })
    return { status: answer.status, text: await answer.text() }
  }
  const code = (answer: string) =>
    `import { twice } from './twice.ts'\nexport default { fetch: async (request: Request): Promise<Response> => {\n  if (request.url.endsWith('/fail')) throw new TypeError('no such luck')\n  console.log('asked')\n  return new Response(twice(${JSON.stringify(answer)}))\n} }\n`

  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'))
    operator = readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
    app = path.join(folder, 'app')
    for (const name of ['hello', 'still', 'pages']) mkdirSync(path.join(app, name), { recursive: true })
    writeFileSync(
      path.join(app, 'mayfly.json'),
      JSON.stringify({ functions: ['hello', 'still'], sites: [{ name: 'front', folder: 'pages' }], buckets: [{ name: 'things' }] }),
    )
    writeFileSync(path.join(app, 'hello', 'index.ts'), code('one '))
    writeFileSync(path.join(app, 'hello', 'twice.ts'), 'export const twice = (text: string): string => text + text\n')
    writeFileSync(path.join(app, 'still', 'index.ts'), 'export const handler = async () => 1\n')
    writeFileSync(path.join(app, 'pages', 'index.html'), '<!doctype html><body><h1>first</h1></body>')
  })
  after(async () => {
    for (const dev of running) dev.child.kill('SIGKILL')
    await node?.stop()
    removeFolder(folder)
  })

  it('runs a folder, answers an edit with what changed alone, tells errors by lines of the user, reloads pages, and leaves nothing', async () => {
    const dev = start(app)
    const open = await dev.event('open')
    const deployed = await dev.event('deployed')
    assert.deepEqual(deployed.functions, ['hello', 'still'])
    assert.deepEqual(await call(deployed, 'hello'), { status: 200, text: 'one one ' })
    assert.ok((await projects()).includes(String(open.ref)))
    assert.equal((await dev.event('log', (one) => one.function === 'hello' && one.kind === 'line')).text, 'asked')

    // An edit, in a file that the function imports.
    let from = dev.events.length
    writeFileSync(path.join(app, 'hello', 'twice.ts'), 'export const twice = (text: string): string => text.trim()\n')
    assert.deepEqual((await dev.event('deployed', undefined, from)).changed, ['hello'])
    assert.equal((await call(deployed, 'hello')).text, 'one')

    // Code that does not bundle is said with its place, and what was there answers on.
    from = dev.events.length
    writeFileSync(path.join(app, 'hello', 'index.ts'), 'export const handler = (\n')
    assert.match(String((await dev.event('failed', undefined, from)).message), /index\.ts:2:1: Unexpected end of file/)
    assert.equal((await call(deployed, 'hello')).text, 'one')
    // So is code that does not load.
    from = dev.events.length
    writeFileSync(path.join(app, 'hello', 'index.ts'), `${code('two')}\nconst none: unknown = undefined\n;(none as { size: number }).size\n`)
    const { message } = await dev.event('failed', undefined, from)
    assert.match(String(message), new RegExp(`does not load.*TypeError: .*\\n\\s+at .*hello/index\\.ts:${code('two').split('\n').length + 2}:`))
    assert.doesNotMatch(String(message), /index\.mjs|node:internal|runtime/)
    assert.equal((await call(deployed, 'hello')).text, 'one')
    from = dev.events.length
    writeFileSync(path.join(app, 'hello', 'index.ts'), code('two'))
    await dev.event('deployed', undefined, from)
    assert.equal((await call(deployed, 'hello')).text, 'two')

    // An error has the user's own file, line and column, and no stack of ours.
    assert.equal((await call(deployed, 'hello/fail')).status, 502)
    const fault = String((await dev.event('log', (one) => one.kind === 'error' && String(one.text).includes('no such luck'))).text)
    assert.match(fault, /TypeError: no such luck/)
    assert.match(fault, /hello\/index\.ts:3:\d+/)
    assert.doesNotMatch(fault, /index\.mjs|node:internal/)

    // A page hears of its next version.
    const [site] = (await dev.event('deployed')).sites as { url: string }[]
    const html = (await send(String(site?.url), 'GET')).text
    const at = /new EventSource\('([^']+)'\)/.exec(html)?.[1] ?? ''
    const stream = await fetch(at)
    const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader()
    writeFileSync(path.join(app, 'pages', 'index.html'), '<!doctype html><body><h1>second</h1></body>')
    for (let heard = ''; !heard.includes('event: reload'); ) {
      const { value, done } = (await reader?.read()) ?? { done: true, value: undefined }
      assert.ok(!done, 'the page is told before the stream ends')
      heard += value
    }
    assert.match((await send(String(site?.url), 'GET')).text, /<h1>second<\/h1><script>/)
    await reader?.cancel()

    // Saved as it was: nothing is deployed.
    from = dev.events.length
    writeFileSync(path.join(app, 'hello', 'index.ts'), code('two'))
    await dev.event('same', undefined, from)

    const own = pidOf(open)
    const children = childrenOf(own)
    assert.ok(children.length > 0, 'the bundler is a process of its own')
    dev.child.kill('SIGINT')
    assert.equal(await dev.ended, 0)
    assert.deepEqual(await projects(), ['demo'])
    assert.deepEqual(notes(), [])
    for (const pid of [own, ...children]) while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 20))
    // What is deployed for good has no script of ours.
    assert.equal(mayfly(['deploy', app], here()).code, 0)
    const { sites } = JSON.parse(mayfly(['sites', '--json'], here()).stdout) as { sites: { url: string }[] }
    assert.doesNotMatch((await send(String(sites[0]?.url), 'GET')).text, /EventSource/)
  })

  it('what a killed one left goes with the next, and what runs stays', async () => {
    const single = path.join(folder, 'single')
    mkdirSync(single)
    writeFileSync(path.join(single, 'index.ts'), 'export const handler = async () => 1\n')
    const killed = start(single)
    const left = await killed.event('open')
    await killed.event('deployed')
    process.kill(pidOf(left), 'SIGKILL')
    await killed.ended
    assert.ok((await projects()).includes(String(left.ref)))

    const one = start(single)
    assert.equal((await one.event('removed')).ref, left.ref)
    const first = await one.event('open')
    await one.event('deployed')
    const two = start(single)
    const second = await two.event('open')
    await two.event('deployed')
    assert.deepEqual((await projects()).toSorted(), [String(first.ref), String(second.ref), 'demo'].toSorted())
    assert.ok(!two.events.some((event) => event.event === 'removed'))

    // Its memory does not grow with edits: what it keeps of each is replaced by the next.
    const own = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pidOf(second)}/status`, 'utf8'))?.[1])
    const filler = 'x'.repeat(400_000)
    const edit = async (n: number) => {
      const from = two.events.length
      writeFileSync(path.join(single, 'index.ts'), `export const text = '${filler}'\nexport const handler = async () => text.length + ${n}\n`)
      await two.event('deployed', undefined, from)
    }
    for (let n = 0; n < 6; n++) await edit(n)
    const before = own()
    for (let n = 6; n < 20; n++) await edit(n)
    // Kept, fourteen bundles with their maps and zips would be some 30 MB.
    assert.ok(own() - before < 60_000, `${before} kB, then ${own()} kB`)

    for (const dev of [one, two]) dev.child.kill('SIGTERM')
    assert.deepEqual(await Promise.all([one.ended, two.ended]), [0, 0])
    assert.deepEqual(await projects(), ['demo'])
    assert.deepEqual(notes(), [])
  })

  it('says what is no folder, and what key it takes', () => {
    assert.equal(mayfly(['dev', path.join(folder, 'nowhere')], here()).code, 2)
    const refused = mayfly(['dev', app, '--url', node.ready.url, '--key', node.ready.project.secretKey], here())
    assert.equal(refused.code, 4, refused.stderr)
    assert.match(refused.stderr, /operator/)
  })
})
