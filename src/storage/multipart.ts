import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'

/** A form of an upload: its fields, and the one file, whose bytes are still to come. */
export interface Form extends AsyncDisposable {
  readonly fields: ReadonlyMap<string, string>
  readonly contentType: string | null
  /** To be read once, to its end: a form that breaks off is told there. */
  readonly bytes: AsyncIterable<Uint8Array>
}

/** The boundary of `multipart/form-data`; null when it is another type. @throws MayflyError bad_request */
export function boundaryOf(contentType: string | undefined): string | null {
  if (contentType === undefined || !/^multipart\/form-data\b/i.test(contentType)) return null
  const match = /;\s*boundary=(?:"([^"\r\n]{1,200})"|([^\s;"]{1,200}))/i.exec(contentType)
  const boundary = match?.[1] ?? match?.[2]
  if (boundary === undefined) throw new MayflyError('bad_request', 'multipart/form-data needs a boundary')
  return boundary
}

const bad = (what: string) => new MayflyError('bad_request', `the form is not well-formed: ${what}`)
const HEADER_BYTES = 8 * 1024
const EMPTY: Buffer = Buffer.alloc(0)

/**
 * Reads a form up to the bytes of its file; what comes before the file is held in memory, the file never is.
 * @see RFC 7578; RFC 2046, section 5.1.1
 * @throws MayflyError bad_request, payload_too_large
 */
export async function readForm(body: AsyncIterable<Uint8Array>, boundary: string): Promise<Form> {
  await using opening = new AsyncDisposableStack()
  const reader = opening.use(new PartReader(body, boundary))
  const fields = new Map<string, string>()
  let fieldBytes = 0
  for (let parts = 0; await reader.nextPart(); parts++) {
    if (parts > LIMITS.formFields.value) throw new MayflyError('payload_too_large', `a form may have ${LIMITS.formFields.value} fields before its file`)
    const { name, isFile, contentType } = parseHead(await reader.head())
    // A browser gives a file a name; our clients send the file as the part without one.
    if (isFile || name === '') {
      const open = opening.move()
      return { fields, contentType, bytes: fileOf(reader), [Symbol.asyncDispose]: () => open.disposeAsync() }
    }
    const chunks: Uint8Array[] = []
    for await (const chunk of reader.bytes()) {
      fieldBytes += chunk.length
      if (fieldBytes > LIMITS.formFieldBytes.value)
        throw new MayflyError('payload_too_large', `the fields of a form may have ${LIMITS.formFieldBytes.value} bytes together`)
      chunks.push(chunk)
    }
    fields.set(name, Buffer.concat(chunks).toString('utf8'))
  }
  throw bad('it holds no file')
}

/** The bytes of the file; what follows it must end the form, so that half a form is not taken for a whole one. */
async function* fileOf(reader: PartReader): AsyncGenerator<Uint8Array> {
  yield* reader.bytes()
  for (let after = 0; await reader.nextPart(); after++) {
    if (after >= LIMITS.formFields.value) throw new MayflyError('payload_too_large', `a form may have ${LIMITS.formFields.value} fields after its file`)
    if (parseHead(await reader.head()).isFile) throw bad('it holds more than one file')
    let seen = 0
    for await (const chunk of reader.bytes()) {
      seen += chunk.length
      if (seen > LIMITS.formFieldBytes.value) throw new MayflyError('payload_too_large', `a field may have ${LIMITS.formFieldBytes.value} bytes`)
    }
  }
}

function parseHead(head: string): { name: string; isFile: boolean; contentType: string | null } {
  let disposition: string | null = null
  let contentType: string | null = null
  for (const line of head.split('\r\n')) {
    const colon = line.indexOf(':')
    const value = line.slice(colon + 1).trim()
    const name = line.slice(0, Math.max(0, colon)).toLowerCase()
    if (name === 'content-disposition') disposition = value
    else if (name === 'content-type') contentType = value
  }
  if (disposition === null || !/^form-data\b/i.test(disposition)) throw bad('a part has no content-disposition of form-data')
  // Browsers write a quotation mark as %22: a value goes to the next one, whatever stands in it.
  const name = /;\s*name="([^"]*)"/i.exec(disposition)?.[1] ?? /;\s*name=([^\s;"]*)/i.exec(disposition)?.[1] ?? ''
  return { name, isFile: /;\s*filename\*?=/i.test(disposition), contentType }
}

/** Goes through the parts of a body, one after the other, holding no more than a piece that may be the beginning of a boundary. */
class PartReader implements AsyncDisposable {
  readonly #source: AsyncIterator<Uint8Array>
  readonly #delimiter: Buffer
  #held: Buffer = EMPTY
  #ended = false
  #isFirst = true
  #partEnded = true

  constructor(body: AsyncIterable<Uint8Array>, boundary: string) {
    this.#source = body[Symbol.asyncIterator]()
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
  }

  /** Goes to the next part; false when the closing boundary came. */
  async nextPart(): Promise<boolean> {
    if (this.#isFirst) {
      this.#isFirst = false
      // The first boundary needs no line before it.
      this.#held = Buffer.from('\r\n')
      this.#partEnded = false
      let preamble = 0
      for await (const chunk of this.bytes()) {
        preamble += chunk.length
        if (preamble > HEADER_BYTES) throw bad('its first boundary does not come')
      }
    }
    if (!this.#partEnded) throw bad('a part was not read to its end')
    while (this.#held.length < 2) if (!(await this.#more())) throw bad('it breaks off')
    if (this.#held.toString('latin1', 0, 2) === '--') {
      // What follows the last boundary means nothing, but is read, so that the connection can be used again.
      this.#held = EMPTY
      let epilogue = 0
      while (await this.#more()) {
        epilogue += this.#held.length
        this.#held = EMPTY
        if (epilogue > HEADER_BYTES) throw bad('too much follows its end')
      }
      return false
    }
    return true
  }

  async head(): Promise<string> {
    for (;;) {
      const end = this.#held.indexOf('\r\n\r\n')
      if (end !== -1 && end <= HEADER_BYTES) {
        const lines = this.#held.toString('utf8', 0, end)
        this.#held = this.#held.subarray(end + 4)
        this.#partEnded = false
        // White space may follow a boundary on its line.
        const first = lines.indexOf('\r\n')
        if (first === -1 || lines.slice(0, first).trim() !== '') throw bad('a boundary is followed by something else')
        return lines.slice(first + 2)
      }
      if (this.#held.length > HEADER_BYTES || end > HEADER_BYTES) throw bad(`the head of a part may have ${HEADER_BYTES} bytes`)
      if (!(await this.#more())) throw bad('it breaks off')
    }
  }

  /** The bytes up to the next boundary. @throws MayflyError bad_request when none comes */
  async *bytes(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const at = this.#held.indexOf(this.#delimiter)
      if (at !== -1) {
        const last = this.#held.subarray(0, at)
        this.#held = this.#held.subarray(at + this.#delimiter.length)
        this.#partEnded = true
        if (last.length > 0) yield last
        return
      }
      const sure = this.#held.length - (this.#delimiter.length - 1)
      if (sure > 0) {
        const piece = this.#held.subarray(0, sure)
        this.#held = this.#held.subarray(sure)
        yield piece
      }
      if (!(await this.#more())) throw bad('it breaks off')
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source.return?.()
  }

  async #more(): Promise<boolean> {
    if (this.#ended) return false
    const { value, done } = await this.#source.next()
    if (done) {
      this.#ended = true
      return false
    }
    this.#held = this.#held.length === 0 ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : Buffer.concat([this.#held, value])
    return true
  }
}
