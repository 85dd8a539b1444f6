import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import type { Database } from '../../../backends/database/database.ts'
import { openTestDatabases } from '../../../backends/database/embedded-fixture.ts'
import { MayflyError } from '../../../core/errors.ts'
import { silentLog } from '../../../core/log.ts'
import type { ProjectRef } from '../../../core/project.ts'
import type { Reply, RequestContext, Route } from '../../../core/route.ts'
import { Sealer } from '../../../core/seal.ts'
import { deleteProject, insertProject, updateProjectState } from '../../../core/store.ts'
import { systemClock } from '../../../lib/clock.ts'
import { uuidv7 } from '../../../lib/ids.ts'
import { Concurrency } from '../../concurrency/concurrency.ts'
import { Artefacts } from '../../artefacts.ts'
import { ArtefactLinks } from '../../links.ts'
import { FunctionsService } from '../../service.ts'
import { FunctionSettings } from '../../settings/service.ts'
import { StoredArchives } from '../../stored-archives.ts'
import { type Told, textOf, told } from '../../../lib/told-fixture.ts'
import { makeZip } from '../../zip-fixture.ts'
import { lambdaRoutes } from './http.ts'
import { FunctionUrls } from '../../urls/service.ts'

export const ONE = 'one' as ProjectRef
export const TWO = 'two' as ProjectRef
export const ROLE = 'arn:aws:iam::123456789012:role/x'
export const ZIP = makeZip([{ name: 'index.js', data: 'exports.handler = async () => 1' }])

export interface Answer {
  readonly status: number
  readonly code: string | undefined
  readonly message: string | undefined
  readonly body: Told
}

/** The operations of the Lambda API on a real database, without a node around them. */
export class LambdaTable implements AsyncDisposable {
  readonly control: Database
  readonly functions: FunctionsService
  readonly settings: FunctionSettings
  /** What lies in the bucket `code` of the first project. */
  readonly objects: Map<string, Buffer>
  /** The folder of artefacts. */
  readonly artefacts: string
  readonly #routes: readonly Route[]
  readonly #close: () => Promise<void>

  private constructor(parts: {
    readonly control: Database
    readonly functions: FunctionsService
    readonly settings: FunctionSettings
    readonly objects: Map<string, Buffer>
    readonly artefacts: string
    readonly routes: readonly Route[]
    readonly close: () => Promise<void>
  }) {
    this.control = parts.control
    this.functions = parts.functions
    this.settings = parts.settings
    this.objects = parts.objects
    this.artefacts = parts.artefacts
    this.#routes = parts.routes
    this.#close = parts.close
  }

  static async open(): Promise<LambdaTable> {
    const { databases, folder } = await openTestDatabases()
    const { control } = databases
    const sealer = new Sealer(randomBytes(32))
    for (const ref of [ONE, TWO]) {
      const id = uuidv7(systemClock.now())
      const dataKey = sealer.makeDataKey(id)
      sealer.useDataKey(id, dataKey)
      await insertProject(control.sql, { id, ref, name: ref, dataKey })
      await updateProjectState(control.sql, ref, 'active')
    }
    const artefacts = new Artefacts({ root: path.join(folder, 'artefacts') })
    await artefacts.recover()
    const settings = new FunctionSettings({ control, clock: systemClock })
    const functions = new FunctionsService({
      control,
      artefacts,
      sealer,
      clock: systemClock,
      log: silentLog,
      build: async () => {},
      retired: () => {},
      deleted: async (ref) => settings.forget(ref),
    })
    const objects = new Map<string, Buffer>()
    const archives = new StoredArchives(async (ref, { bucket, key }, limitBytes) => {
      if (ref !== ONE || bucket !== 'code') return 'NoSuchBucket'
      const bytes = objects.get(key)
      if (bytes === undefined) return 'NoSuchKey'
      return bytes.length > limitBytes ? 'EntityTooLarge' : bytes
    })
    const routes = lambdaRoutes({
      functions,
      settings,
      concurrency: new Concurrency({ control, clock: systemClock }),
      provisioned: () => null,
      links: new ArtefactLinks(systemClock),
      archives,
      urls: new FunctionUrls({ control, functionId: async (ref, name) => (await functions.find(ref, name))?.id ?? null }),
      urlAddress: (origin, id) => `${origin}/lambda-url/${id}/`,
      hasQueue: (_ref, arn) => (arn.split(':')[2] === 'sqs' && !arn.endsWith('.fifo') ? !arn.endsWith(':absent') : null),
      architecture: 'x86_64',
    })
    const close = async () => {
      await databases[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    }
    return new LambdaTable({ control, functions, settings, objects, artefacts: path.join(folder, 'artefacts'), routes, close })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close()
  }

  async send(method: string, url: string, body: unknown = undefined, project: ProjectRef = ONE): Promise<Answer> {
    const [rawPath = '', rawQuery = ''] = url.split('?')
    const parts = rawPath.slice(1).split('/')
    const fits = (route: Route) => {
      const wanted = route.path.slice(1).split('/')
      if (route.method !== method && route.method !== '*') return false
      if (wanted.at(-1) !== '*' && wanted.length !== parts.length) return false
      return wanted.every((segment, index) => segment === '*' || segment.startsWith(':') || segment === parts[index])
    }
    const route = this.#routes.find(fits)
    assert.ok(route, `${method} ${url} has no route`)
    const params: Record<string, string> = {}
    for (const [index, segment] of route.path.slice(1).split('/').entries())
      if (segment.startsWith(':')) params[segment.slice(1)] = decodeURIComponent(parts[index] ?? '')
    const bytes = body === undefined ? Buffer.alloc(0) : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body))
    const id = randomUUID()
    const context: RequestContext = {
      id,
      method,
      rawPath,
      rawQuery,
      query: new URLSearchParams(rawQuery),
      headers: { authorization: 'AWS4-HMAC-SHA256 Credential=AKTEST/20261124/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0' },
      rawHeaders: [],
      params,
      principal: { kind: 'access-key', project, keyId: 'AKTEST' },
      project: { id, ref: project, name: project, state: 'active' },
      remoteAddress: '127.0.0.1',
      origin: 'http://127.0.0.1:54321',
      depth: 0,
      signal: new AbortController().signal,
      body: async (limitBytes) => {
        if (bytes.length > limitBytes) throw new MayflyError('payload_too_large', 'too large')
        return bytes
      },
      stream: async function* () {
        yield bytes
      },
    }
    let reply: Reply
    try {
      reply = await route.handle(context)
    } catch (error) {
      if (!route.fail) throw error
      reply = route.fail(error, { id, headers: {} })
    }
    const text = Buffer.from((reply.body as string | Uint8Array | null) ?? '').toString()
    const parsed = told(text === '' ? 'null' : text)
    const code = reply.headers?.['x-amzn-errortype'] as string | undefined
    return { status: reply.status, code, message: code === undefined ? undefined : textOf(parsed.message ?? parsed.Message), body: parsed }
  }

  /** As the deletion of a project does it: its rows go with its own. */
  async dropProject(project: ProjectRef): Promise<void> {
    await this.functions.dropProject(project)
    await updateProjectState(this.control.sql, project, 'deleting')
    await deleteProject(this.control.sql, project)
  }

  async create(name: string, more: object = {}, project: ProjectRef = ONE): Promise<Answer> {
    const base = { FunctionName: name, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Code: { ZipFile: ZIP.toString('base64') } }
    return await this.send('POST', '/2015-03-31/functions', { ...base, ...more }, project)
  }
}

/** What a refusal says: status, code and the message or what it has to match. */
export function refuses(answer: Answer, status: number, code: string, message: RegExp | string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], JSON.stringify(answer.body))
  if (message instanceof RegExp) assert.match(answer.message ?? '', message)
  else assert.equal(answer.message, message)
}
