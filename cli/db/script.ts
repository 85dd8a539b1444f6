import { UsageError } from '../output.ts'
import { type Piece, splitStatements } from './statements.ts'

/** What one statement may take; who forgot to close a quote is told so in good time. */
const MOST_CHARACTERS = 64 * 1_048_576

/** A statement or a command; the rows behind `copy … from stdin` come as they are asked for. */
export interface ScriptPiece extends Piece {
  readonly data: AsyncIterable<string> | null
}

/**
 * The statements of a script as it is read: no more of it is held than the statement that is not ended yet. The rows behind a
 * COPY that nobody has asked for are passed over.
 */
export async function* readStatements(chunks: AsyncIterable<string>): AsyncGenerator<ScriptPiece, void, undefined> {
  const script = new Script(chunks)
  let wanted = 0
  for (;;) {
    // Each time twice as much: what is looked at again is never more than what is new.
    await script.read(wanted)
    const { pieces, rest, restLine, copies } = splitStatements(script.text, script.isWhole)
    const last = copies ? pieces.at(-1) : undefined
    const from = script.line - 1
    for (const piece of copies ? pieces.slice(0, -1) : pieces) yield { ...piece, line: from + piece.line, data: null }
    script.text = rest
    script.line = from + restLine
    if (last) {
      const rows = new Rows(script)
      yield { ...last, line: from + last.line, data: rows }
      for await (const _ of rows) {
        // What the server did not want.
      }
      wanted = 0
      continue
    }
    if (script.isWhole) return
    if (rest.length > MOST_CHARACTERS)
      throw new UsageError(
        `the statement that begins at line ${script.line} is longer than ${MOST_CHARACTERS / 1_048_576} MiB: a quote, a dollar quote or a comment may not be closed`,
      )
    wanted = rest.length
  }
}

class Script {
  readonly #chunks: AsyncIterator<string>
  text = ''
  /** Of the first character of the text. */
  line = 1
  isWhole = false

  constructor(chunks: AsyncIterable<string>) {
    this.#chunks = chunks[Symbol.asyncIterator]()
  }

  /** More of it, by as many characters at least. */
  async read(characters: number): Promise<void> {
    const parts = [this.text]
    for (let more = 0; !this.isWhole; ) {
      const { done, value } = await this.#chunks.next()
      if (done) this.isWhole = true
      else {
        parts.push(value)
        more += value.length
        if (more > 0 && more >= characters) break
      }
    }
    this.text = parts.join('')
  }
}

/** Up to the line `\.`. */
class Rows implements AsyncIterable<string> {
  readonly #script: Script
  #isLineStart = true
  #isOver = false

  constructor(script: Script) {
    this.#script = script
  }

  /** @throws Error where they do not end */
  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, undefined> {
    const script = this.#script
    while (!this.#isOver) {
      const found = this.#find(script.text)
      if (found !== null && (found.closed || script.isWhole)) {
        this.#isOver = true
        yield* this.#take(found.at)
        script.text = script.text.slice(found.length)
        script.line++
        return
      }
      if (script.isWhole) {
        this.#isOver = true
        script.text = ''
        throw new Error('no data follows; use -f with the rows behind the statement, and \\. on a line of its own')
      }
      const lineStart = script.text.lastIndexOf('\n') + 1
      // What may yet become the end stays.
      const isOpen = (lineStart > 0 || this.#isLineStart) && '\\.\r'.startsWith(script.text.slice(lineStart))
      yield* this.#take(isOpen ? lineStart : script.text.length)
      await script.read(0)
    }
  }

  /** The line that ends them; it may be the rest of one that was begun. */
  #find(text: string): { readonly at: number; readonly length: number; readonly closed: boolean } | null {
    const end = this.#isLineStart ? /(^|\n)\\\.\r?(\n|$)/ : /(\n)\\\.\r?(\n|$)/
    const found = end.exec(text)
    if (!found) return null
    const [whole, before = '', after] = found
    return { at: found.index + before.length, length: whole.length - before.length, closed: after === '\n' }
  }

  /** Handed on, and no longer held. */
  *#take(length: number): Generator<string, void, undefined> {
    if (length === 0) return
    const taken = this.#script.text.slice(0, length)
    this.#script.text = this.#script.text.slice(length)
    this.#isLineStart = taken.endsWith('\n')
    for (let at = taken.indexOf('\n'); at !== -1; at = taken.indexOf('\n', at + 1)) this.#script.line++
    yield taken
  }
}
