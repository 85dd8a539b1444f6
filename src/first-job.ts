import { promises as fs } from 'node:fs'
import path from 'node:path'
import { Client, type InvocationInfo } from '../client/client.ts'
import { applyProject, packProject } from '../client/project.ts'
import type { ReadyLine } from './ready-line.ts'

export interface Resized {
  /** From the answer of the upload until the last thumbnail could be read. */
  readonly totalMs: number
  /** Of these in the function, its start included. */
  readonly functionMs: number
  /** Why its sandbox was cold; null when it was warm. */
  readonly cold: string | null
}

export interface FirstJob {
  readonly page: string | null
  readonly source: { readonly path: string; readonly bytes: number }
  readonly thumbnails: { readonly folder: string; readonly bytes: number }
  readonly first: Resized
  readonly second: Resized
  readonly cost: { readonly amount: string; readonly currency: string; readonly list: string }
}

export interface FirstJobOptions {
  readonly root: string
  readonly data: string
  readonly ready: ReadyLine
  readonly operatorToken: string
  readonly say: (line: string) => void
  readonly now: () => number
  readonly monotonic: () => number
}

const FUNCTION = 'resize'
const WIDTHS = [64, 256, 1024]
const WAIT_MS = 60_000
const LOOK_MS = 5

/** What every new node does first: deploys `examples/photo-app` and uploads a real photograph, twice, as any client would. */
export async function doFirstJob(options: FirstJobOptions): Promise<FirstJob> {
  const { root, data, ready, say } = options
  const client = new Client(ready.url, options.operatorToken)
  const packed = await packProject(path.join(root, 'examples', 'photo-app'), null)
  const deployed = await applyProject(client, ready.project.ref, packed, await client.planDeployment(ready.project.ref, packed.document))
  const seconds = [...packed.steps, ...deployed.steps].reduce((sum, step) => sum + step.ms, 0) / 1000
  say(`Deployed ${packed.name} in ${seconds.toFixed(1)} s, ${(deployed.sentBytes / 1024 / 1024).toFixed(1)} MiB: a page, two buckets and a function.`)

  const source = path.join(root, 'examples', 'photos', 'deep-field.jpg')
  const photograph = await fs.readFile(source)
  const folder = path.join(data, 'sample')
  await fs.mkdir(folder, { recursive: true })
  const first = await resize(options, client, photograph)
  const second = await resize(options, client, photograph)
  let bytes = 0
  for (const [n, thumbnail] of first.thumbnails.entries()) {
    await fs.writeFile(path.join(folder, `deep-field-${WIDTHS[n]}.webp`), thumbnail, { flush: true })
    bytes += thumbnail.length
  }
  const { total, prices } = await client.usage(ready.project.ref, 1, 'function')
  return {
    page: deployed.sites[0]?.url ?? null,
    source: { path: source, bytes: photograph.length },
    thumbnails: { folder, bytes },
    first: first.told,
    second: second.told,
    cost: { amount: total.cost, currency: prices.currency, list: prices.name },
  }
}

async function resize(options: FirstJobOptions, client: Client, photograph: Buffer): Promise<{ told: Resized; thumbnails: Buffer[] }> {
  const { ready, monotonic } = options
  const storage = `${ready.project.url}/storage/v1/object`
  const stem = `${options.now().toString(36)}-deep-field`
  const known = new Set((await client.invocations(ready.project.ref, FUNCTION, 100)).invocations.map((one) => one.id))
  const response = await fetch(`${storage}/avatars/${stem}.jpg`, {
    method: 'POST',
    headers: { apikey: ready.project.publishableKey, 'content-type': 'image/jpeg' },
    body: new Uint8Array(photograph),
  })
  if (!response.ok) throw new Error(`the upload was answered with ${response.status}: ${(await response.text()).slice(0, 500)}`)
  await response.arrayBuffer()
  const from = monotonic()
  const within = <T>(what: string, ask: () => Promise<T | null>) => until(what, ask, () => monotonic() - from)
  const thumbnails: Buffer[] = []
  for (const width of WIDTHS) thumbnails.push(await within('its thumbnails are not there', () => read(`${storage}/public/thumbnails/${stem}/${width}.webp`)))
  const totalMs = monotonic() - from
  const run = await within('its run has no end', async () => {
    const ended = (one: InvocationInfo) => !known.has(one.id) && one.outcome === 'ok'
    return (await client.invocations(ready.project.ref, FUNCTION, 100)).invocations.find(ended) ?? null
  })
  return { told: { totalMs, functionMs: run.waitMs + run.initMs + run.durationMs, cold: run.cold }, thumbnails }
}

async function read(url: string): Promise<Buffer | null> {
  const response = await fetch(url)
  const bytes = Buffer.from(await response.arrayBuffer())
  return response.ok ? bytes : null
}

async function until<T>(what: string, ask: () => Promise<T | null>, passedMs: () => number): Promise<T> {
  for (;;) {
    const found = await ask()
    if (found !== null) return found
    if (passedMs() > WAIT_MS) throw new Error(`after ${WAIT_MS / 1000} s ${what}; \`npx mayfly dlq ls\` and \`npx mayfly logs ${FUNCTION}\` say why`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}
