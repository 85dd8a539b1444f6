import type { Duplex } from 'node:stream'
import { encodeFrame, FLAG, type Frame, FrameDecoder, PROTOCOL_VERSION, TYPE } from '../frames.ts'
import type { Steps } from './steps.ts'

/** What a guest was told of a call. */
export interface HeardCall {
  readonly id: number
  readonly invocationId: string
  readonly kind: 'event' | 'http'
  readonly remainingMs: number
}

interface Announced {
  readonly handler: string
  readonly environment: Readonly<Record<string, string>>
  readonly concurrency: number
}

const headOf = ({ payload }: Frame) =>
  JSON.parse(payload.toString('utf8', 4, 4 + payload.readUInt32LE(0))) as { kind: 'event' | 'http'; remainingMs: number; context: { invocationId: string } }

/** How a test looks into the calls of all guests. */
export type OnCall = (call: HeardCall, guest: SimulatedGuest) => void

const JSON_ERROR = Buffer.from(JSON.stringify({ errorType: 'Error', errorMessage: 'as the code says' }))

/**
 * The other side of the two descriptors, as a runtime speaks there. What it would do by itself are steps that wait for
 * the test. While it is frozen nothing of it happens and nothing is heard.
 */
export class SimulatedGuest {
  readonly id: string
  readonly exited: Promise<{ code: number | null; signal: string | null; outOfMemory: boolean }>
  announced: Announced | null = null
  /** How many calls it was given, and which are not over. */
  calls = 0
  readonly running = new Map<number, HeardCall>()
  /** Of those, whose caller has left, as it was told. */
  readonly cancelled = new Set<number>()
  /** Calls whose body is on its way. */
  readonly streaming = new Set<number>()
  /** It has broken the protocol: whoever speaks to it ends it for that. */
  isHostile = false
  readonly #control: Duplex
  readonly #relay: Duplex
  readonly #steps: Steps
  readonly #faults: string[]
  readonly #onCall: OnCall
  readonly #exit: (how: { code: number | null; signal: string | null; outOfMemory: boolean }) => void
  /** What calls off the steps that belong to it. */
  readonly #callsOff = new Map<string, () => void>()
  #relayed = 0
  #isDead = false
  #isFrozen = false
  #unheard: Buffer[] = []
  #specialiseText = ''
  #kind: 'lambda' | 'fetch' | null = null
  #ahead: Frame | null = null

  constructor(id: string, control: Duplex, relay: Duplex, steps: Steps, told: { readonly faults: string[]; readonly onCall: OnCall }) {
    this.id = id
    this.#control = control
    this.#relay = relay
    this.#steps = steps
    this.#faults = told.faults
    this.#onCall = told.onCall
    const { promise, resolve } = Promise.withResolvers<{ code: number | null; signal: string | null; outOfMemory: boolean }>()
    this.exited = promise
    this.#exit = resolve
    const decoder = new FrameDecoder()
    const hear = (chunk: Buffer) => {
      if (this.#isDead) return
      if (this.#isFrozen) {
        if (chunk[4] === TYPE.call) this.#faults.push(`${id} is given a call while it is frozen`)
        this.#unheard.push(chunk)
      } else decoder.push(chunk, (frame) => this.#hear(frame))
    }
    control.on('data', hear)
    this.#hearUnheard = () => {
      for (const chunk of this.#unheard.splice(0)) hear(chunk)
    }
  }
  readonly #hearUnheard: () => void

  get isDead(): boolean {
    return this.#isDead
  }

  hello(): void {
    this.#say(TYPE.hello, 0, 0, { version: PROTOCOL_VERSION, features: ['ahead'] })
  }

  /** Its process ends, whatever it did. */
  die(): void {
    if (this.#isDead) return
    this.#isDead = true
    for (const callOff of this.#callsOff.values()) callOff()
    this.#callsOff.clear()
    this.running.clear()
    this.streaming.clear()
    this.#control.end()
    this.#relay.end()
    this.#exit({ code: null, signal: 'SIGKILL', outOfMemory: false })
  }

  /** The kernel's freezer was asked. */
  freezer(frozen: boolean): Promise<void> {
    if (this.#isDead) return frozen ? Promise.reject(new Error('it is gone')) : Promise.resolve()
    if (frozen && this.running.size > 0) this.#faults.push(`${this.id} is frozen while ${this.running.size} calls run`)
    return new Promise((resolve, reject) => {
      this.#steps.add(`${frozen ? 'freeze' : 'thaw'} ${this.id}`, {
        well: () => {
          this.#isFrozen = frozen
          if (!frozen) this.#hearUnheard()
          resolve()
        },
        fails: () => reject(new Error('the control group does not obey')),
      })
    })
  }

  #hear(frame: Frame): void {
    switch (frame.type) {
      case TYPE.warm:
        this.#say(TYPE.warmed, 0, 0)
        return
      case TYPE.specialise:
        if (frame.payload.length > 0) this.#specialiseText += frame.payload.toString()
        if (frame.flags & FLAG.done) this.#becomes(JSON.parse(this.#specialiseText) as Announced)
        if (frame.flags & FLAG.fin) this.#load()
        return
      case TYPE.call:
        if (this.#kind === null) this.#ahead = { ...frame, payload: Buffer.from(frame.payload) }
        else this.#call(frame)
        return
      case TYPE.cancel:
        this.cancelled.add(frame.stream)
        return
      case TYPE.shutdown:
        this.#step('end', { well: () => this.die() })
        return
      default:
    }
  }

  #becomes(announced: Announced): void {
    if (this.announced !== null) this.#faults.push(`${this.id} is made a version's twice`)
    this.announced = announced
  }

  #load(): void {
    const kind = this.announced?.handler === 'fetch' ? 'fetch' : 'lambda'
    const shutdownMs = this.announced?.handler === 'extended' ? 500 : 0
    this.#step('load', {
      well: () => {
        this.#kind = kind
        this.#say(TYPE.loaded, 0, 0, { kind, shutdownMs })
        if (this.#ahead !== null && (headOf(this.#ahead).kind === 'http') === (kind === 'fetch')) this.#call(this.#ahead)
      },
      throws: () => this.#say(TYPE.loadError, 0, 0, JSON_ERROR),
      exits: () => this.#exits(),
      dies: () => this.die(),
      lies: () => this.#say(TYPE.loaded, 0, 0, { kind: 'nothing known' }),
      never: () => {},
    })
  }

  #call(frame: Frame): void {
    const id = frame.stream
    const head = headOf(frame)
    const call: HeardCall = { id, invocationId: head.context.invocationId, kind: head.kind, remainingMs: head.remainingMs }
    this.calls++
    this.running.set(id, call)
    this.#onCall(call, this)
    // As most calls do, it turns to the platform; it leaves the connection open.
    this.#relay.write(encodeFrame(TYPE.open, 0, ++this.#relayed))
    if (this.running.size > (this.announced?.concurrency ?? 0)) this.#faults.push(`${this.id} has ${this.running.size} calls at once`)
    const over = (): void => {
      this.#say(TYPE.done, 0, id)
      this.running.delete(id)
    }
    /** It has answered; what it does behind that is another step. */
    const goesOn = (): void => this.#step(`rest of ${id}`, { well: over, dies: () => this.die(), exits: () => this.#exits(), never: () => {} })
    const rest = (): void =>
      this.#step(`body of ${id}`, {
        well: () => {
          this.streaming.delete(id)
          this.#say(TYPE.end, FLAG.fin, id)
          over()
        },
        more: () => {
          this.#say(TYPE.data, 0, id, Buffer.alloc(64))
          rest()
        },
        breaks: () => {
          this.streaming.delete(id)
          this.#say(TYPE.end, 0, id)
          over()
        },
        dies: () => this.die(),
        never: () => {},
      })
    const hostile = {
      unknown: () => {
        this.isHostile = true
        this.#say(TYPE.result, FLAG.fin, id + 100)
      },
      twice: () => {
        this.isHostile = true
        this.#say(TYPE.callError, 0, id, JSON_ERROR)
        this.#say(TYPE.callError, 0, id, JSON_ERROR)
      },
      noise: () => {
        this.isHostile = true
        this.#control.write(Buffer.alloc(64, 0xff))
      },
    }
    const ends = { dies: () => this.die(), exits: () => this.#exits(), ...hostile, never: () => {} }
    const fails = () => {
      this.#say(TYPE.callError, 0, id, JSON_ERROR)
      over()
    }
    if (head.kind === 'event') {
      const answer = () => this.#say(TYPE.result, FLAG.fin, id, Buffer.from('"fine"'))
      this.#step(`call ${id}`, {
        well: () => {
          answer()
          over()
        },
        throws: fails,
        waits: () => {
          answer()
          goesOn()
        },
        ...ends,
      })
      return
    }
    this.#step(`call ${id}`, {
      well: () => {
        this.#say(TYPE.head, FLAG.fin, id, { status: 204, headers: [] })
        over()
      },
      streams: () => {
        this.streaming.add(id)
        this.#say(TYPE.head, 0, id, { status: 200, headers: [] })
        this.#say(TYPE.data, 0, id, Buffer.alloc(1000))
        rest()
      },
      throws: fails,
      ...ends,
    })
  }

  #exits(): void {
    this.#say(TYPE.exiting, 0, 0, Buffer.from([3, 0, 0, 0]))
    this.die()
  }

  /** A step of its own: it ends with it, and does not happen while it is frozen. */
  #step(what: string, ways: Readonly<Record<string, () => void>>): void {
    const unfrozen = Object.fromEntries(
      Object.entries(ways).map(([name, happens]) => [
        name,
        () => {
          this.#callsOff.delete(what)
          if (this.#isFrozen) this.#step(what, ways)
          else happens()
        },
      ]),
    )
    this.#callsOff.set(what, this.#steps.add(`${what} in ${this.id}`, unfrozen))
  }

  #say(type: number, flags: number, stream: number, payload?: object): void {
    if (this.#isDead) return
    const bytes = payload === undefined || payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload))
    this.#control.write(encodeFrame(type, flags, stream, bytes as Uint8Array | undefined))
  }
}
