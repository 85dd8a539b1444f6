import assert from 'node:assert/strict'
import { symlinkSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe } from 'node:test'
import { SAYS } from '../../conformance/frames.ts'
import { Guest } from '../../conformance/guest.ts'
import { Table } from '../../conformance/table.ts'
import { nodeRuntime } from '../conformance.ts'

// What is asked of a handler of Lambda's form and of a `fetch` handler is asked of each cloud's adapter, in one table, of a
// real runtime: the same code, by the form in which each of them is called.

const ROOT = path.resolve(import.meta.dirname, '..', '..', '..')
const runtime = nodeRuntime(process.execPath)

/** What the handlers do, whoever calls them. */
const DOES = `exports.does = async ({ does, value, ms, out, err, code }, id) => {
  if (does === 'echo') return value
  if (does === 'id') return id
  if (does === 'big') return 'x'.repeat(value)
  if (does === 'throw') throw new Error(value)
  if (does === 'uncaught') return await new Promise(() => setTimeout(() => { throw new Error(value) }, 1))
  if (does === 'environment') return { only: process.env.ONLY, path: process.env.PATH }
  if (does === 'logs') return void (process.stdout.write(out), process.stderr.write(err)) ?? null
  if (does === 'exit') { process.stdout.write('last words\\n'); process.exit(code) }
  process.stdout.write(\`begin \${value}\\n\`)
  await new Promise((resolve) => setTimeout(resolve, ms))
  process.stdout.write(\`end \${value}\\n\`)
  return value
}
`
const BYTES = [0, 255, 13, 10, 128]

interface Form {
  readonly files: Readonly<Record<string, string>>
  readonly handler: string
  /** A name that nothing has. */
  readonly missing: string
  readonly framework: string | null
  readonly takes: 'events' | 'requests'
  /** Whether an error is an answer with the status 500, as in its cloud. */
  readonly answersErrors: boolean
  readonly lacks: Readonly<Record<string, string>>
}

const FORMS: Readonly<Record<string, Form>> = {
  'Lambda handler': {
    files: { 'index.mjs': "import things from './does.cjs'\nexport const handler = (event, context) => things.does(event, context.awsRequestId)\n" },
    handler: 'index.handler',
    missing: 'index.nothing',
    framework: null,
    takes: 'events',
    answersErrors: false,
    lacks: { 'calls: answer with status, headers, cookies and bytes': 'it takes events' },
  },
  'fetch handler': {
    files: {
      'index.mjs': `import things from './does.cjs'
const cookies = [['x-kind', 'own'], ['set-cookie', 'a=1'], ['set-cookie', 'b=2']]
export default {
  async fetch(request, env, context) {
    const action = await request.json()
    if (action.does === 'answer') return new Response(new Uint8Array(action.value), { status: 201, headers: cookies })
    return Response.json(await things.does(action, context.awsRequestId))
  },
}
`,
    },
    handler: 'index.handler',
    missing: 'other.handler',
    framework: null,
    takes: 'requests',
    answersErrors: false,
    lacks: { 'loading: a handler that is not there': 'it is what its file exports' },
  },
  Google: {
    files: {
      'package.json': '{"main": "index.js"}',
      'index.js': `const functions = require('@google-cloud/functions-framework')
const { does } = require('./does.cjs')
functions.http('act', async (req, res) => {
  if (req.body.does !== 'answer') return res.json(await does(req.body))
  res.status(201).set('x-kind', 'own').cookie('a', '1').cookie('b', '2').send(Buffer.from(req.body.value))
})
`,
    },
    handler: 'act',
    missing: 'nothing',
    framework: 'google',
    takes: 'requests',
    answersErrors: true,
    lacks: { 'calls: know the id of the invocation': 'its framework makes an execution id of its own' },
  },
  Azure: {
    files: {
      'package.json': '{"main": "index.js"}',
      'host.json': '{"version": "2.0"}',
      'index.js': `const { app } = require('@azure/functions')
const { does } = require('./does.cjs')
app.post('act', async (request, context) => {
  const action = await request.json()
  if (action.does !== 'answer') return { jsonBody: await does(action, context.invocationId) }
  const cookies = [{ name: 'a', value: '1' }, { name: 'b', value: '2' }]
  return { status: 201, headers: { 'x-kind': 'own' }, cookies, body: new Uint8Array(action.value) }
})
`,
    },
    handler: 'app.http',
    missing: 'nothing',
    framework: 'azure',
    takes: 'requests',
    answersErrors: true,
    lacks: {},
  },
}

async function start(form: Form, changes: { readonly handler?: string; readonly does?: string } = {}) {
  const guest = await Guest.start(runtime)
  // As an app's own packages lie beside it.
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(guest.folder, 'node_modules'))
  const code = { files: { ...form.files, 'does.cjs': changes.does ?? DOES }, handler: changes.handler ?? form.handler }
  guest.specialise(code, { framework: form.framework, environment: { ONLY: 'this', NODE_ENV: 'production' }, concurrency: 8 })
  return guest
}

/** @returns the id of the call */
function begin(guest: Guest, form: Form, action: object): number {
  if (form.takes === 'events') return guest.event(action)
  const body = Buffer.from(JSON.stringify(action))
  const headers: [string, string][] = [
    ['content-type', 'application/json'],
    ['content-length', String(body.length)],
    ['x-forwarded-for', '192.0.2.1'],
  ]
  const id = guest.http({ method: 'POST', url: 'http://localhost/api/act', headers, hasBody: true })
  let sent = 0
  void guest
    .until('the body to have gone', () => {
      sent += guest.body(id, body.subarray(sent))
      return sent === body.length
    })
    .then(() => guest.end(id))
  return id
}
const act = async (guest: Guest, form: Form, action: object) => await guest.done(begin(guest, form, action))

const table = new Table()
for (const [name, form] of Object.entries(FORMS))
  describe(`${name} passes the table of handlers`, { timeout: 60_000 }, () => {
    const column = table.column(name, { absent: null, lacks: form.lacks })
    let guest: Guest
    before(async () => {
      guest = await start(form)
      await guest.hears(SAYS.loaded)
    })
    after(async () => await guest[Symbol.asyncDispose]())

    describe('calls', () => {
      const it = column.group('calls')
      it('get what was sent, and answer what is returned', async () => {
        const value = { text: 'größer → 東京', list: [1, null, true], long: 'é'.repeat(200_000) }
        assert.deepEqual((await act(guest, form, { does: 'echo', value })).json, value)
      })
      it('answer more than a window holds', async () => {
        assert.equal((await act(guest, form, { does: 'big', value: 2_000_000 })).json, 'x'.repeat(2_000_000))
      })
      it('answer with status, headers, cookies and bytes', async () => {
        const { head, bytes } = await act(guest, form, { does: 'answer', value: BYTES })
        const all = (wanted: string) => head.headers.filter(([key]) => key === wanted).map(([, value]) => value)
        assert.equal(head.status, 201)
        assert.deepEqual(all('x-kind'), ['own'])
        assert.deepEqual(
          all('set-cookie').map((text) => text.split(';')[0]),
          ['a=1', 'b=2'],
        )
        assert.deepEqual([...bytes], BYTES)
      })
      it('know the id of the invocation', async () => {
        const id = begin(guest, form, { does: 'id' })
        assert.equal((await guest.done(id)).json, `id-${id}`)
      })
      it('see the environment that was given', async () => {
        assert.deepEqual((await act(guest, form, { does: 'environment' })).json, { only: 'this' })
      })
      it('fail by themselves, and name the line of one’s own file', async () => {
        const call = await act(guest, form, { does: 'throw', value: 'of mine' })
        const said = form.answersErrors ? `${call.out}${call.err}` : JSON.stringify(call.error)
        if (form.answersErrors) assert.equal(call.head.status, 500)
        assert.match(said, /of mine/)
        assert.match(said, /does\.cjs:5:/)
        assert.equal((await act(guest, form, { does: 'echo', value: 'after it' })).json, 'after it')
      })
      it('run at the same time, each with its own logs', async () => {
        const ids = ['a', 'b', 'c'].map((value) => begin(guest, form, { does: 'sleep', value, ms: 300 }))
        await guest.until('all to have begun', () => ids.every((id) => guest.stream(id).out.includes('begin')))
        for (const [i, id] of ids.entries()) {
          const call = await guest.done(id)
          assert.deepEqual([call.json, call.out], ['abc'[i], `begin ${'abc'[i]}\nend ${'abc'[i]}\n`])
        }
      })
      it('log by either output', async () => {
        const call = await act(guest, form, { does: 'logs', out: 'größer\n', err: 'less\n' })
        assert.deepEqual([call.out, call.err], ['größer\n', 'less\n'])
      })
      it('end the guest by an exit, with its code and its last words', async () => {
        const id = begin(guest, form, { does: 'exit', code: 3 })
        assert.equal((await guest.last()).code, 3)
        assert.match(guest.stream(id).out, /last words/)
      })
    })

    describe('loading', () => {
      const it = column.group('loading')
      const fault = async (changes: Parameters<typeof start>[1]) => {
        await using broken = await start(form, changes)
        const { payload } = await broken.hears(SAYS.loadError)
        return JSON.parse(payload.toString()) as { errorType: string; errorMessage: string; trace: string[] }
      }
      it('says what the code throws, by the line of one’s own file', async () => {
        const { errorMessage, trace } = await fault({ does: "\n\nthrow new Error('at load')\n" })
        assert.equal(errorMessage, 'at load')
        assert.match(trace.join('\n'), /does\.cjs:3:/)
      })
      it('a handler that is not there', async () => {
        assert.equal((await fault({ handler: form.missing })).errorType, 'Runtime.HandlerNotFound')
      })
      it('an error that nobody took is told by its line, and ends the guest where nobody has it in hand', async () => {
        await using broken = await start(form)
        await broken.hears(SAYS.loaded)
        const id = begin(broken, form, { does: 'uncaught', value: 'where no call is' })
        // Google's own framework has: it answers for its call.
        if (form.framework === 'google') assert.equal((await broken.done(id)).head.status, 500)
        else assert.equal((await broken.last()).code, runtime.uncaught.exitCode)
        const call = broken.stream(id)
        assert.match(`${call.out}${call.err}${broken.own.err}${broken.own.out}${call.frames.map(({ payload }) => payload.toString()).join('')}`, /does\.cjs:6:/)
      })
    })
  })

after(() => {
  process.stdout.write(`${table.text()}\n`)
  assert.deepEqual(table.faults, [])
})
