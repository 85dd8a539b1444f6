import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { StoredLine } from '../../observe/index.ts'

const ACCOUNT = '000000000000'
/** Of a batch, beside its lines. */
const FRAME_BYTES = 2_048
/** What does not shrink grows by base64. */
const SHARE = 0.7
/** As CloudWatch numbers its lines: so that texts of them are in the order of the numbers. */
const ID_DIGITS = 56

/** Whose lines they are: what is told together. */
export interface Writer {
  readonly functionName: string
  readonly version: string
  /** How many functions stood before the calls that wrote them. */
  readonly depth: number
}

export interface Batch extends Writer {
  readonly lines: readonly StoredLine[]
}

/** Lines in the order in which they came, each batch of one writer. */
export class Batches {
  readonly #mostLines: number
  readonly #mostBytes: number
  readonly #open = new Map<string, { readonly batch: Writer & { readonly lines: StoredLine[] }; bytes: number }>()
  readonly all: Batch[] = []

  /** @param mostBytes  of an event */
  constructor(mostLines: number, mostBytes: number) {
    this.#mostLines = mostLines
    this.#mostBytes = mostBytes * SHARE - FRAME_BYTES
  }

  add({ functionName, version, depth }: Writer, line: StoredLine): void {
    const key = JSON.stringify([functionName, version, depth])
    const bytes = Buffer.byteLength(JSON.stringify(line))
    let open = this.#open.get(key)
    if (!open || open.batch.lines.length >= this.#mostLines || open.bytes + bytes > this.#mostBytes) {
      open = { batch: { functionName, version, depth, lines: [] }, bytes: 0 }
      this.#open.set(key, open)
      this.all.push(open.batch)
    }
    open.batch.lines.push(line)
    open.bytes += bytes
  }
}

const packed = promisify(gzip)

/** As a subscription of CloudWatch Logs tells of lines. */
export async function cloudwatchEvent({ functionName, version, lines }: Batch, triggerId: string): Promise<unknown> {
  const day = (lines[0]?.at ?? new Date(0)).toISOString().slice(0, 10).replaceAll('-', '/')
  const stream = createHash('sha256').update(functionName).digest('hex').slice(0, 32)
  const told = {
    messageType: 'DATA_MESSAGE',
    owner: ACCOUNT,
    logGroup: `/aws/lambda/${functionName}`,
    logStream: `${day}/[${version}]${stream}`,
    subscriptionFilters: [triggerId],
    logEvents: lines.map(({ seq, at, text }) => ({ id: seq.padStart(ID_DIGITS, '0'), timestamp: at.getTime(), message: text })),
  }
  return { awslogs: { data: (await packed(JSON.stringify(told))).toString('base64') } }
}

export const plainEvent = ({ functionName, version, lines }: Batch) => ({
  function: functionName,
  version,
  lines: lines.map(({ seq, at, invocationId, source, text }) => ({ id: seq, at: at.toISOString(), invocation: invocationId, source, text })),
})
