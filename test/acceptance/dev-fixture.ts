import { type ChildProcess, spawn } from 'node:child_process'
import path from 'node:path'
import { ROOT } from './harness.ts'

export interface DevEvent {
  readonly event: string
  readonly [field: string]: unknown
}

/** `mayfly dev` as a user runs it, by its own lines of JSON. */
export class Dev {
  readonly child: ChildProcess
  readonly events: DevEvent[] = []
  readonly ended: Promise<number | null>
  #rest = ''
  #said = ''
  #heard = Promise.withResolvers<void>()

  constructor(folder: string, environment: Record<string, string>) {
    const env = { ...process.env, ...environment }
    this.child = spawn(process.execPath, [path.join(ROOT, 'bin', 'mayfly.js'), 'dev', folder, '--json'], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.ended = new Promise((resolve) => this.child.once('exit', resolve))
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString()
    })
    this.child.stdout?.setEncoding('utf8')
    this.child.stdout?.on('data', (chunk: string) => {
      const lines = (this.#rest + chunk).split('\n')
      this.#rest = lines.pop() ?? ''
      for (const line of lines) this.events.push(JSON.parse(line) as DevEvent)
      this.#heard.resolve()
      this.#heard = Promise.withResolvers()
    })
  }

  /** The first event of a kind that fits and came after `from`. */
  async event(kind: string, fits: (event: DevEvent) => boolean = () => true, from = 0): Promise<DevEvent> {
    for (;;) {
      const found = this.events.slice(from).find((one) => one.event === kind && fits(one))
      if (found) return found
      if (this.child.exitCode !== null || this.child.signalCode !== null) throw new Error(`dev ended with ${this.child.exitCode}: ${this.#said}`)
      await Promise.race([this.#heard.promise, this.ended])
    }
  }
}
