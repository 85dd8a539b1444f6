import { promises as fs } from 'node:fs'
import path from 'node:path'
import { Client } from '../client/client.ts'
import { deployPacked, packFolder } from '../client/deploy.ts'
import type { ReadyLine } from './node.ts'

export interface FirstJob {
  readonly name: string
  readonly source: { readonly path: string; readonly bytes: number }
  readonly thumbnail: { readonly path: string; readonly bytes: number }
  readonly coldMs: number
  readonly warmMs: number
  readonly coldReason: string
}

const WIDTH = 300

/** What every new node does first: deploys `examples/thumbnail` and sends it a real photograph, twice, as any client would. */
export async function doFirstJob(options: {
  root: string
  data: string
  ready: ReadyLine
  operatorToken: string
  say: (line: string) => void
  monotonic: () => number
}): Promise<FirstJob> {
  const { ready, say, monotonic } = options
  const client = new Client(ready.url, options.operatorToken)
  const packed = await packFolder(path.join(options.root, 'examples', 'thumbnail'), null)
  const made = await deployPacked(client, ready.project.ref, packed)
  const total = [...packed.steps, ...made.steps].reduce((sum, step) => sum + step.ms, 0)
  say(`Deployed ${packed.name}: ${packed.files} files, ${(packed.zip.length / 1024 / 1024).toFixed(1)} MiB, in ${(total / 1000).toFixed(1)} s.`)
  const source = path.join(options.root, 'examples', 'photos', 'deep-field.jpg')
  const photograph = await fs.readFile(source)
  const resize = async () => {
    const from = monotonic()
    const response = await fetch(`${ready.project.url}/functions/v1/${packed.name}?width=${WIDTH}`, {
      method: 'POST',
      headers: { apikey: ready.project.publishableKey, 'content-type': 'image/jpeg' },
      body: photograph,
    })
    const body = Buffer.from(await response.arrayBuffer())
    const ms = monotonic() - from
    if (!response.ok) throw new Error(`the function answered ${response.status}: ${body.toString('utf8').slice(0, 500)}`)
    return { body, ms, cold: response.headers.get('x-mayfly-cold') }
  }
  const first = await resize()
  const second = await resize()
  const folder = path.join(options.data, 'sample')
  await fs.mkdir(folder, { recursive: true })
  const thumbnail = path.join(folder, `deep-field-${WIDTH}.webp`)
  await fs.writeFile(thumbnail, first.body, { flush: true })
  return {
    name: packed.name,
    source: { path: source, bytes: photograph.length },
    thumbnail: { path: thumbnail, bytes: first.body.length },
    coldMs: first.ms,
    warmMs: second.ms,
    coldReason: first.cold ?? 'none: a sandbox was ready',
  }
}
