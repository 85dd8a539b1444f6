import { unparsable } from '../errors.ts'

const NAME = /[\p{L}\p{N}_ $]/u
const IS_BLANK = /[ \t]/

/** Reads one parameter from left to right. What does not fit is told with its place. */
export class Scanner {
  readonly text: string
  readonly #what: string
  at = 0

  /** @param what  which parameter it is, for the message of its error */
  constructor(text: string, what: string) {
    this.text = text
    this.#what = what
  }

  get isAtEnd(): boolean {
    return this.at >= this.text.length
  }
  get next(): string {
    return this.text[this.at] ?? ''
  }
  startsWith(token: string): boolean {
    return this.text.startsWith(token, this.at)
  }
  /** Whether the next character is one of these. */
  isAt(characters: string): boolean {
    return !this.isAtEnd && characters.includes(this.next)
  }
  take(token: string): boolean {
    if (!this.startsWith(token)) return false
    this.at += token.length
    return true
  }
  expect(token: string): void {
    if (!this.take(token)) throw this.fault(`"${token}"`)
  }
  blanks(): void {
    while (!this.isAtEnd && IS_BLANK.test(this.next)) this.at++
  }
  /** @throws DataError always, as its caller's answer */
  fault(expected: string) {
    const met = this.isAtEnd ? 'end of input' : JSON.stringify(this.next)
    return unparsable(this.#what, this.text, this.at, `unexpected ${met} expecting ${expected}`)
  }
  end(): void {
    if (!this.isAtEnd) throw this.fault('end of input')
  }

  /** What a quoted text holds; `\` makes the next character itself. */
  quoted(): string {
    this.expect('"')
    let text = ''
    while (!this.isAtEnd) {
      const each = this.next
      this.at++
      if (each === '"') return text
      if (each === '\\') {
        if (this.isAtEnd) break
        text += this.next
        this.at++
      } else text += each
    }
    throw this.fault('"\\""')
  }

  /** All up to one of these characters, or to the end. */
  until(stops: string): string {
    const from = this.at
    while (!this.isAtEnd && !stops.includes(this.next)) this.at++
    return this.text.slice(from, this.at)
  }

  /** The name of a column, table or alias: quoted, or letters, digits, `_`, `$`, blanks, and dashes between them. */
  name(): string {
    if (this.next === '"') return this.quoted()
    const from = this.at
    for (;;) {
      const code = this.text.codePointAt(this.at)
      const each = code === undefined ? '' : String.fromCodePoint(code)
      const isDash = each === '-' && this.at > from && this.text[this.at + 1] !== '>' && this.#isNameAt(this.at + 1)
      if (each === '' || !(NAME.test(each) || isDash)) break
      this.at += each.length
    }
    const name = this.text.slice(from, this.at).trim()
    if (name === '') throw this.fault('field name (* or [a..z0..9_$])')
    return name
  }

  #isNameAt(at: number): boolean {
    const code = this.text.codePointAt(at)
    return code !== undefined && NAME.test(String.fromCodePoint(code))
  }
}
