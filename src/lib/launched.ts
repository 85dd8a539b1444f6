import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { standBehind } from './stand-behind.ts'

/** What a descriptor of a program is: nothing that can be read or written, a stream of whoever starts it, or a file to read. */
export type Descriptor = 'nothing' | 'stream' | { readonly file: string }

/** A program to start, in a session of its own. */
export interface Launch {
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** From 0 on. */
  readonly descriptors: readonly Descriptor[]
  /** By how much it stands behind this process; null: not at all. */
  readonly nice: number | null
}

export interface HowEnded {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A program that was started. */
export interface Launched {
  /** Undefined where it could not be started. */
  readonly pid: number | undefined
  /** By their descriptors; null where none was asked for. */
  readonly streams: readonly (Duplex | null)[]
  /** Null while it runs. */
  readonly ended: HowEnded | null
  /** Resolves when it has ended. Rejects where it could not be started. */
  readonly exited: Promise<HowEnded>
  kill(signal: NodeJS.Signals): void
}

/** Starts it as a child of this process, which is copied for it: that takes the longer the more memory this process has. */
export function launchHere({ command, env, descriptors, nice }: Launch): Launched {
  const files = descriptors.map((one) => (typeof one === 'object' ? openSync(one.file, 'r') : null))
  try {
    const [program, ...args] = command
    const stdio = descriptors.map((one, at) => (one === 'nothing' ? 'ignore' : one === 'stream' ? 'pipe' : (files[at] as number)))
    // A Ctrl-C is for this process, which ends what it has started itself.
    const child = spawn(program as string, args, { stdio, cwd: '/', env, detached: true })
    if (nice !== null && child.pid !== undefined) standBehind(child.pid, nice)
    return new Child(child, descriptors)
  } finally {
    for (const file of files) if (file !== null) closeSync(file)
  }
}

class Child implements Launched {
  readonly streams: readonly (Duplex | null)[]
  readonly exited: Promise<HowEnded>
  readonly #child: ChildProcess

  constructor(child: ChildProcess, descriptors: readonly Descriptor[]) {
    this.#child = child
    const all = child.stdio as unknown as (Duplex | null)[]
    this.streams = descriptors.map((one, at) => (one === 'stream' ? (all[at] ?? null) : null))
    // When a program ends, Node lets all that its `stdio` names flow into nothing, though who has them inherited may write on.
    all.length = Math.min(all.length, 3)
    this.exited = new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', (code, signal) => resolve({ code, signal }))
    })
    this.exited.catch(() => {})
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  get ended(): HowEnded | null {
    const { exitCode: code, signalCode: signal } = this.#child
    return code === null && signal === null ? null : { code, signal }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }
}
