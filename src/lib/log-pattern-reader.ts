export const MAX_CHARS = 1_024
const MAX_DEPTH = 16

/** What is wrong with a pattern, in words for its author. */
export class LogPatternError extends Error {
  override readonly name = 'LogPatternError'
}

/** Reads a pattern from its beginning. */
export class Reader {
  readonly #text: string
  #at = 0
  #depth = 0

  constructor(text: string) {
    this.#text = text
  }

  peek(): string {
    return this.#text[this.#at] ?? ''
  }

  atEnd(): boolean {
    return this.#at >= this.#text.length
  }

  fault(what: string): LogPatternError {
    return new LogPatternError(`${what} (at character ${this.#at + 1})`)
  }

  space(): void {
    while (/\s/.test(this.peek())) this.#at++
  }

  /** @returns whether it stands here, spaces before it aside; then it and the spaces behind it are read */
  take(mark: string): boolean {
    this.space()
    if (!this.takeHere(mark)) return false
    // What belongs to a term stands at it.
    if (mark !== '-' && mark !== '?') this.space()
    return true
  }

  takeHere(mark: string): boolean {
    if (!this.#text.startsWith(mark, this.#at)) return false
    this.#at += mark.length
    return true
  }

  /** A word, whole. */
  word(wanted: string): boolean {
    this.space()
    if (!this.#text.startsWith(wanted, this.#at) || /\w/.test(this.#text[this.#at + wanted.length] ?? '')) return false
    this.#at += wanted.length
    this.space()
    return true
  }

  expect(mark: string, andSpace = true): void {
    if (!(andSpace ? this.take(mark) : this.takeHere(mark))) throw this.fault(`\`${mark}\` is missing`)
  }

  end(): void {
    this.space()
    if (!this.atEnd()) throw this.fault('nothing may follow')
  }

  /** What stands here up to one of these characters, or the end. */
  until(stop: RegExp, what: string): string {
    const from = this.#at
    while (!this.atEnd() && !stop.test(this.peek())) this.#at++
    if (this.#at === from) throw this.fault(`${what} is missing`)
    return this.#text.slice(from, this.#at)
  }

  index(): number {
    const digits = this.until(/\D/, 'a number')
    if (digits.length > 6) throw this.fault('the number is too large')
    return Number(digits)
  }

  quoted(): string {
    const text = this.quotedHere()
    this.space()
    return text
  }

  quotedHere(): string {
    if (!this.takeHere('"')) throw this.fault('`"` is missing')
    let text = ''
    while (!this.atEnd()) {
      const char = this.#text[this.#at++] as string
      if (char === '"') return text
      const escaped = char === '\\' ? this.peek() : ''
      if (escaped === '"' || escaped === '\\') {
        text += escaped
        this.#at++
      } else text += char
    }
    throw this.fault('a quote is not ended')
  }

  deeper<T>(read: () => T): T {
    if (++this.#depth > MAX_DEPTH) throw this.fault(`brackets go deeper than ${MAX_DEPTH}`)
    const result = read()
    this.#depth--
    return result
  }
}
