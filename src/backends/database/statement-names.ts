import { createHash } from 'node:crypto'
import type { NamedStatement, Statement } from './flight.ts'

const KNOWN_TEXTS = 300
const LONGEST_KNOWN = 4_096

/** How often a text was met: the second time it gets a name, and is parsed once for each session. */
export class StatementNames {
  readonly #texts = new Map<string, string | null>()

  named({ text, values }: Statement): NamedStatement {
    return { name: this.#nameOf(text), text, values }
  }

  #nameOf(text: string): string | null {
    if (text.length > LONGEST_KNOWN) return null
    const known = this.#texts.get(text)
    const name = known === undefined ? null : (known ?? createHash('sha1').update(text).digest('base64url'))
    this.#texts.delete(text)
    this.#texts.set(text, name)
    if (this.#texts.size > KNOWN_TEXTS) this.#texts.delete(this.#texts.keys().next().value as string)
    return name
  }
}
