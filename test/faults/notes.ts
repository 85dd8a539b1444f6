import { closeSync, fdatasync, openSync, readFileSync, write } from 'node:fs'
import { promisify } from 'node:util'

/** An event, as its sender notes it before and when it is answered. */
export interface Noted {
  readonly id: string
  readonly kind: string
  /** Whether it was acknowledged. */
  readonly ok: boolean
  readonly key?: string
  readonly sequence?: number
  /** It is to fail in its first run, or in each: then it is to end as a dead letter. */
  readonly fails?: 'first' | 'always'
}

/** A run, as the function told it. */
export interface Executed {
  readonly at: number
  readonly function: string
  readonly invocation: string
  readonly run: string
  readonly ids: readonly string[]
  readonly key?: string
  readonly sequence?: number
}

function linesIn<T>(text: string): T[] {
  return text.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [JSON.parse(line) as T]
    } catch {
      // The last one of a process that was killed: nobody was answered for it.
      return []
    }
  })
}
export const executionsIn = (text: string): Executed[] => linesIn<Executed>(text)
export const notedIn = (text: string): Noted[] => linesIn<Noted>(text)

/** A file of lines, each on disk when `add` resolves; those of one instant share a sync. */
export class Notes implements AsyncDisposable {
  readonly #descriptor: number
  readonly #file: string
  #lines: string[] = []
  #next: Promise<void> | null = null
  #last: Promise<void> = Promise.resolve()

  constructor(file: string) {
    this.#file = file
    this.#descriptor = openSync(file, 'a', 0o600)
  }

  add(...noted: readonly Noted[]): Promise<void> {
    this.#lines.push(...noted.map((one) => `${JSON.stringify(one)}\n`))
    this.#next ??= this.#last = this.#last.then(() => this.#flush())
    return this.#next
  }

  read(): Noted[] {
    return notedIn(readFileSync(this.#file, 'utf8'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#last
    closeSync(this.#descriptor)
  }

  async #flush(): Promise<void> {
    const lines = this.#lines
    this.#lines = []
    this.#next = null
    await (promisify(write) as (fd: number, text: string) => Promise<unknown>)(this.#descriptor, lines.join(''))
    await promisify(fdatasync)(this.#descriptor)
  }
}
