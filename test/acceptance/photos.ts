import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { crc32, deflateSync } from 'node:zlib'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { mayfly, type Ready, ROOT } from './harness.ts'

export const PHOTO_APP = path.join(ROOT, 'examples', 'photo-app')
export const WIDTHS = [64, 256, 1024] as const
export const photo = (name: string): Buffer => readFileSync(path.join(ROOT, 'examples', 'photos', name))
export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Asks again until there is something. @throws AssertionError after `ms` */
export async function until<T>(what: string, ask: () => Promise<T | null | undefined | false>, ms = 60_000): Promise<T> {
  for (const end = Date.now() + ms; Date.now() < end; await pause(50)) {
    const found = await ask()
    if (found) return found
  }
  return assert.fail(`it did not come to this: ${what}`)
}

export const clientOf = (ready: Ready, key: string = ready.project.publishableKey): SupabaseClient =>
  createClient(ready.project.url, key, { auth: { persistSession: false, autoRefreshToken: false } })

export function deployPhotoApp(data: string): string {
  const { code, stdout, stderr } = mayfly(['deploy', PHOTO_APP, '--data', data])
  assert.equal(code, 0, `${stdout}${stderr}`)
  return stdout
}

export const stemOf = (key: string) => key.replace(/\.[^./]+$/, '')

/** The bytes of an object as anyone reads them; null when there is none. */
export async function download(ready: Ready, bucket: string, key: string): Promise<Buffer | null> {
  const { data, error } = await clientOf(ready).storage.from(bucket).download(key)
  if (error) {
    assert.match(String((error as { statusCode?: string }).statusCode ?? error.message), /404|Object not found/)
    return null
  }
  return Buffer.from(await data.arrayBuffer())
}

/** All three of a picture, as soon as they are there. */
export const thumbnailsOf = (ready: Ready, key: string, ms = 60_000): Promise<Buffer[]> =>
  until(
    `the thumbnails of ${key}`,
    async () => {
      const found = await Promise.all(WIDTHS.map((width) => download(ready, 'thumbnails', `${stemOf(key)}/${width}.webp`)))
      return found.every((one) => one !== null) && (found as Buffer[])
    },
    ms,
  )

export interface DeadLetter {
  readonly id: string
  readonly function: string
  readonly reason: string
  readonly attempts: number
  readonly errorType: string | null
  readonly errorMessage: string | null
}
export const deadLetters = async (data: string): Promise<DeadLetter[]> =>
  (await manage<{ deadLetters: DeadLetter[] }>(data, '/api/v1/projects/demo/dead-letters')).deadLetters

/** Keys of the management API, as the operator's file on this machine gives them. */
export async function manage<T>(data: string, route: string): Promise<T> {
  const { url, operatorToken } = JSON.parse(readFileSync(path.join(data, 'run.json'), 'utf8')) as { url: string; operatorToken: string }
  const response = await fetch(`${url}${route}`, { headers: { authorization: `Bearer ${operatorToken}` } })
  assert.equal(response.status, 200, await response.clone().text())
  return (await response.json()) as T
}

export interface Execution {
  readonly id: string
  readonly attempt: number
  readonly outcome: string
  readonly billedMs: number
}
export const executions = async (data: string, name = 'resize'): Promise<Execution[]> =>
  (await manage<{ invocations: Execution[] }>(data, `/api/v1/projects/demo/functions/${name}/invocations?limit=1000`)).invocations

/** A whole and valid PNG of one colour: of any size in pixels it has next to none in bytes. */
export const blankPng = (width: number, height: number): Buffer =>
  // One bit a pixel, grey.
  pngOf(width, height, 1, 0, Buffer.alloc((1 + Math.ceil(width / 8)) * height))

/** One of noise, which no compression makes smaller: many bytes for few pixels, so that a function has little to do with them. */
export function noisyPng(width: number, height: number): Buffer {
  const rows = randomBytes((1 + 3 * width) * height)
  for (let row = 0; row < height; row++) rows[row * (1 + 3 * width)] = 0 // its filter: none
  return pngOf(width, height, 8, 2, rows)
}

function pngOf(width: number, height: number, depth: number, colours: number, rows: Buffer): Buffer {
  const chunk = (type: string, body: Buffer) => {
    const head = Buffer.alloc(8)
    head.writeUInt32BE(body.length)
    head.write(type, 4, 'latin1')
    const sum = Buffer.alloc(4)
    sum.writeUInt32BE(crc32(Buffer.concat([head.subarray(4), body])))
    return Buffer.concat([head, body, sum])
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width)
  header.writeUInt32BE(height, 4)
  header[8] = depth
  header[9] = colours
  return Buffer.concat([
    Buffer.from('89504e470d0a1a0a', 'hex'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows, { level: 1 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

/** Nothing waits, nothing runs, and what was just answered has had the time to come to the queue. */
export const nothingLeft = (data: string): Promise<unknown> =>
  until('an empty queue', async () => {
    for (let look = 0; look < 3; look++) {
      const { waiting, running } = await manage<{ waiting: number; running: number }>(data, '/api/v1/projects/demo/queue')
      if (waiting + running > 0) return false
      await pause(150)
    }
    return true
  })
