import type { Client, LogLine } from '../client/client.ts'
import type { Stacks } from './dev/stacks.ts'

const FAULT = /^([^{]*\tERROR\t[^{]*)(\{[\s\S]*\})(\s*)$/
const FRAME = /(?:^|[\r\n])\s*at .*:\d+:\d+\)?(?:[\r\n]|$)/

/** What a node tells of errors, in lines of the user's own files: with the source map of what ran, where there is one. */
export class ToldStacks {
  readonly #client: Client
  readonly #project: string
  readonly #name: string
  #stacks: Stacks | null = null
  /** When the newest code came; null until it is asked for. */
  #modifiedAt: number | null = null
  readonly #maps = new Map<string, Promise<void>>()

  /** @param name  with its qualifier, if it has one */
  constructor(client: Client, project: string, name: string) {
    this.#client = client
    this.#project = project
    this.#name = name.split(':')[0] as string
  }

  /** Of an error that a call ended with. */
  async payload(payload: string, version: string): Promise<string> {
    return await this.#json(payload, ['trace'], version, null)
  }

  /** A line of the log. */
  async line({ text, version, at }: LogLine): Promise<string> {
    const [, head, json, tail] = FAULT.exec(text) ?? []
    if (json !== undefined) return `${head}${await this.#json(json, ['stack', 'trace'], version, at)}${tail}`
    if (!FRAME.test(text)) return text
    return (await this.#loaded(version, at)).stack(version, text.split(/\r|\n/))
  }

  async #json(text: string, fields: readonly string[], version: string, at: string | null): Promise<string> {
    try {
      const told = JSON.parse(text) as Record<string, unknown>
      const stacks = await this.#loaded(version, at)
      for (const field of fields) {
        const lines = told[field]
        if (Array.isArray(lines) && lines.every((line) => typeof line === 'string')) told[field] = stacks.lines(version, lines)
      }
      return JSON.stringify(told)
    } catch {
      return text
    }
  }

  /** @param at  when it was told; null for just now */
  async #loaded(version: string, at: string | null): Promise<Stacks> {
    // Few who call a function or read its log see a stack.
    this.#stacks ??= new (await import('./dev/stacks.ts')).Stacks()
    const stacks = this.#stacks
    if (version === '$LATEST' && at !== null) {
      this.#modifiedAt ??= Date.parse(String((await this.#client.function(this.#project, this.#name)).modifiedAt))
      // What ran then is not what there is now.
      if (Date.parse(at) < this.#modifiedAt) return new (stacks.constructor as typeof Stacks)()
    }
    let loading = this.#maps.get(version)
    if (!loading) {
      // An app that was not bundled has none; neither has what is no JavaScript. Without one all else is told as it is.
      loading = this.#client
        .sourceMap(this.#project, version === '$LATEST' ? this.#name : `${this.#name}:${version}`)
        .then((map) => stacks.setMap(version, map))
        .catch(() => {})
      this.#maps.set(version, loading)
    }
    await loading
    return stacks
  }
}
