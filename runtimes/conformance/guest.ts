import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { Decoder, encode, encodePieces, FLAG, type Frame, LOG_WINDOW, MAX_PAYLOAD, RELAY, SANDBOX_WINDOW, SAYS, STREAM_WINDOW, TELLS, u32 } from './frames.ts'
import type { Code, Runtime } from './runtime.ts'
import { ship } from './shipped.ts'

/** How long a guest may take for what it does at once; a busy machine has two cores. */
const PATIENCE_MS = 8_000

/** What the suite knows of one call, or of one relay stream. */
class Stream {
  /** What it may send still, and what may be sent to it. */
  incoming = STREAM_WINDOW
  /** Pieces of an event that wait for credit. */
  waiting: Buffer[] = []
  outgoing = STREAM_WINDOW
  /** Received and not yet granted again. */
  held = 0
  frames: Frame[] = []
  outcome: 'result' | 'head' | 'stream' | 'error' | null = null
  /** Its own direction: open from a result without `fin` or a head without `fin` until `end`. */
  body: 'none' | 'open' | 'whole' | 'broken' = 'none'
  parts: Buffer[] = []
  out = ''
  err = ''
  lost = 0
  logBytes = 0
  done = false

  get bytes(): Buffer {
    return Buffer.concat(this.parts)
  }
  get text(): string {
    return this.bytes.toString()
  }
  get json(): unknown {
    return JSON.parse(this.text)
  }
  get contentType(): string {
    return JSON.parse((this.frames.find((frame) => frame.type === SAYS.stream) as Frame).payload.toString()).contentType
  }
  get head(): { status: number; headers: [string, string][] } {
    const { flags, payload } = this.frames.find((frame) => frame.type === SAYS.head) as Frame
    return JSON.parse((flags & FLAG.raw ? payload.subarray(4, 4 + payload.readUInt32LE(0)) : payload).toString())
  }
  get error(): { errorType: string; errorMessage: string; trace?: string[]; stackTrace?: string[] } {
    return JSON.parse((this.frames.find((frame) => frame.type === SAYS.callError) as Frame).payload.toString())
  }
}

export interface HttpCall {
  readonly method?: string
  readonly url?: string
  readonly headers?: readonly [string, string][]
  readonly hasBody?: boolean
}

/**
 * A real guest and the host's end of its two descriptors. Every frame is held against the law as it comes: what is
 * beyond credit, out of order, twice or after the end is a fault, which `[Symbol.asyncDispose]` throws in whatever test.
 */
export class Guest implements AsyncDisposable {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'guest-'))
  readonly child: ChildProcess
  readonly control: Duplex
  readonly relay: Duplex
  /** Frames that stand for themselves: stream 0 of descriptor 3, but no logs and credits. */
  readonly said: Frame[] = []
  readonly calls = new Map<number, Stream>()
  readonly relays = new Map<number, Stream>()
  /** Stream 0: logs of nobody's call, as while code is loaded. */
  readonly own = new Stream()
  /** What is not granted as it comes, but when a test says so. */
  withhold: { data?: boolean; logs?: boolean; relay?: boolean } = {}
  readonly exited: Promise<{ code: number | null; signal: string | null }>
  readonly faults: string[] = []
  sandboxIncoming = SANDBOX_WINDOW
  logsIncoming = LOG_WINDOW
  stderr = ''
  #nextCall = 1
  #rest: () => number = () => 0
  #stirred: () => void = () => {}

  constructor(runtime: Runtime) {
    mkdirSync(this.temporary)
    this.child = spawn(runtime.command, runtime.args, {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
      cwd: '/',
      // A group of its own: what a runtime starts ends with it.
      detached: true,
      env: { ...runtime.environment, TMPDIR: this.temporary },
    })
    this.exited = new Promise((resolve) => this.child.once('exit', (code, signal) => resolve({ code, signal })))
    void this.exited.then(() => this.#stirred())
    this.child.stderr?.on('data', (chunk) => (this.stderr += chunk))
    this.control = this.child.stdio[3] as Duplex
    this.relay = this.child.stdio[4] as Duplex
    const listen = (socket: Duplex, decoder: Decoder, take: (frame: Frame) => void) => {
      socket.on('error', () => {})
      socket.on('data', (chunk) => {
        try {
          for (const frame of decoder.push(chunk)) take(frame)
        } catch (error) {
          this.faults.push(String(error))
          socket.destroy()
        }
        this.#stirred()
      })
    }
    const control = new Decoder(SAYS)
    this.#rest = () => control.rest
    listen(this.control, control, (frame) => this.#onControl(frame))
    listen(this.relay, new Decoder(RELAY), (frame) => this.#onRelay(frame))
  }

  /** Where files go that go away again. */
  get temporary(): string {
    return path.join(this.folder, 'tmp')
  }

  static async start(runtime: Runtime): Promise<Guest> {
    await ship()
    const guest = new Guest(runtime)
    await guest.hears(SAYS.hello)
    return guest
  }

  /** Writes the code down and gives it to the guest; what came of it is what `hears` hears. */
  specialise(code: Code, changes: Readonly<Record<string, unknown>> = {}, write: (bytes: Buffer) => unknown = (bytes) => this.write(bytes)): void {
    const codePath = path.join(this.folder, 'code')
    for (const [name, text] of Object.entries(code.files)) {
      mkdirSync(path.dirname(path.join(codePath, name)), { recursive: true })
      writeFileSync(path.join(codePath, name), text, { mode: 0o755 })
    }
    mkdirSync(codePath, { recursive: true })
    const fields = {
      handler: code.handler,
      environment: {},
      context: { functionName: 'f', functionVersion: '7', functionArn: 'arn:f', memoryMb: 128, logGroup: '/group', logStream: 'stream' },
      memoryMb: 128,
      codePath,
      cachePath: null,
      concurrency: 1,
      relayPorts: [],
      build: false,
      ...changes,
    }
    write(Buffer.concat(encodePieces(TELLS.specialise, FLAG.fin, 0, Buffer.from(JSON.stringify(fields)))))
  }

  async load(code: Code, changes: Readonly<Record<string, unknown>> = {}): Promise<'lambda' | 'fetch'> {
    this.specialise(code, changes)
    await this.until('the code to be loaded', () => this.said.some((frame) => frame.type === SAYS.loaded || frame.type === SAYS.loadError))
    const frame = this.said.find((one) => one.type === SAYS.loaded)
    assert.ok(frame, `does not load: ${this.said.at(-1)?.payload.toString()}`)
    return JSON.parse(frame.payload.toString()).kind
  }

  /** The frames of an event call: inline where it fits, else in pieces. */
  eventFrames(event: unknown, context: Readonly<Record<string, unknown>> = {}): { id: number; frames: Buffer[] } {
    return this.rawEventFrames(Buffer.from(JSON.stringify(event)), context)
  }
  rawEventFrames(payload: Buffer, context: Readonly<Record<string, unknown>> = {}, inPieces = false): { id: number; frames: Buffer[] } {
    const { id, first } = this.#open({ kind: 'event' }, context)
    if (inPieces) this.stream(id).outgoing -= payload.length
    if (!inPieces && first.length + payload.length <= MAX_PAYLOAD) return { id, frames: [encode(TELLS.call, FLAG.fin, id, Buffer.concat([first, payload]))] }
    return { id, frames: [encode(TELLS.call, 0, id, first), ...encodePieces(TELLS.data, 0, id, payload), encode(TELLS.end, FLAG.fin, id)] }
  }
  event(event: unknown, context: Readonly<Record<string, unknown>> = {}): number {
    const { id, frames } = this.eventFrames(event, context)
    const call = this.stream(id)
    call.waiting.push(...frames)
    this.#pump(call)
    return id
  }
  #pump(call: Stream): void {
    for (let next = call.waiting[0]; next; next = call.waiting[0]) {
      const bytes = next.readUInt8(4) === TELLS.data ? next.length - 12 : 0
      if (bytes > call.outgoing) return
      call.outgoing -= bytes
      this.write(next)
      call.waiting.shift()
    }
  }
  http(call: HttpCall = {}): number {
    const { hasBody = false, ...rest } = call
    const { id, first } = this.#open({ kind: 'http', method: 'GET', url: 'http://localhost/', headers: [], hasBody, ...rest })
    this.write(encode(TELLS.call, hasBody ? 0 : FLAG.fin, id, first))
    return id
  }
  #open(head: Readonly<Record<string, unknown>>, context: Readonly<Record<string, unknown>> = {}): { id: number; first: Buffer } {
    const id = this.#nextCall++
    this.calls.set(id, new Stream())
    const text = Buffer.from(
      JSON.stringify({
        ...head,
        remainingMs: 5000,
        context: { invocationId: `id-${id}`, traceId: 'trace', clientContext: null, depth: 0, invokedArn: 'arn:f:live', ...context },
      }),
    )
    return { id, first: Buffer.concat([u32(text.length), text]) }
  }

  /** Sends as much of a request's body as there is credit for. @returns how much that was */
  body(id: number, bytes: Buffer): number {
    const call = this.stream(id)
    let sent = 0
    while (sent < bytes.length && call.outgoing > 0) {
      const piece = bytes.subarray(sent, sent + Math.min(MAX_PAYLOAD, call.outgoing))
      call.outgoing -= piece.length
      this.write(encode(TELLS.data, 0, id, piece))
      sent += piece.length
    }
    return sent
  }
  end(id: number, whole = true): void {
    this.write(encode(TELLS.end, whole ? FLAG.fin : 0, id))
  }
  cancel(id: number): void {
    this.write(encode(TELLS.cancel, 0, id))
  }
  write(bytes: Buffer): void {
    this.control.write(bytes)
  }
  stream(id: number): Stream {
    const stream = this.calls.get(id)
    assert.ok(stream, `no call ${id}`)
    return stream
  }

  /** Grants what was held back of a call, or a part of it. */
  grant(id: number, bytes: number = this.stream(id).held): void {
    const stream = this.stream(id)
    stream.held -= bytes
    stream.incoming += bytes
    this.sandboxIncoming += bytes
    // More than a window at once no receiver can have to grant.
    if (bytes > 0) this.write(encode(TELLS.credit, 0, id, u32(bytes)))
  }
  grantLogs(bytes: number): void {
    this.logsIncoming += bytes
    this.write(encode(TELLS.credit, FLAG.stdout, 0, u32(bytes)))
  }

  /** Waits until it is so. @throws AssertionError after eight seconds, or when the guest breaks the law or is gone */
  async until(what: string, so: () => boolean, patienceMs: number = PATIENCE_MS): Promise<void> {
    const from = performance.now()
    let gone = false
    void this.exited.then(() => (gone = true))
    for (;;) {
      if (so()) return
      assert.deepEqual(this.faults, [], `while waiting for ${what}`)
      const late = performance.now() - from > patienceMs
      // What it wrote last may still be on its way.
      if (gone || late) await delay(20)
      if (so()) return
      assert.ok(!late, `waited in vain for ${what}; it said: ${this.#transcript()}`)
      assert.ok(!gone || performance.now() - from < 300, `the guest ended before ${what}; it said: ${this.#transcript()}`)
      await this.#stirs()
    }
  }
  /** Resolves when the guest has said something or is gone; what else a test waits for it looks at every ten milliseconds. */
  async #stirs(): Promise<void> {
    await new Promise<void>((resolve) => {
      const late = setTimeout(resolve, 10)
      this.#stirred = () => {
        clearTimeout(late)
        resolve()
      }
    })
  }
  async hears(type: number): Promise<Frame> {
    const found = () => this.said.find((frame) => frame.type === type)
    await this.until(`a frame of type ${type}`, () => found() !== undefined)
    return found() as Frame
  }
  /** All of a call: waits for `done`. */
  async done(id: number): Promise<Stream> {
    const stream = this.stream(id)
    await this.until(`the end of call ${id}`, () => stream.done)
    return stream
  }
  async ask(event: unknown): Promise<unknown> {
    return (await this.done(this.event(event))).json
  }
  /** Waits until `count` grows no more. */
  async still(count: () => number): Promise<number> {
    for (let last = -1; ; await delay(80)) {
      if (count() === last) return last
      last = count()
    }
  }

  #transcript(): string {
    const tell = (name: string, frame: Frame) => `${name}${frame.type}/${frame.flags}/${frame.stream}:${frame.payload.toString('utf8', 0, 300)}`
    const frames = [...this.said, ...[...this.calls.values()].flatMap((call) => call.frames.filter((frame) => frame.type !== SAYS.data))]
    return `${frames.map((frame) => tell('', frame)).join(' ')}\nlogs: ${this.own.out}${this.own.err}\nstderr: ${this.stderr.slice(-2000)}`
  }

  #onControl(frame: Frame): void {
    const fault = (what: string) => this.faults.push(`${what} (type ${frame.type}, flags ${frame.flags}, stream ${frame.stream})`)
    if (this.said.length === 0 && frame.type !== SAYS.hello) fault('something before hello')
    if (this.said.some((one) => one.type === SAYS.exiting)) fault('something after exiting')
    switch (frame.type) {
      case SAYS.hello:
      case SAYS.loaded:
      case SAYS.loadError:
      case SAYS.warmed:
      case SAYS.exiting:
        if (frame.stream !== 0) fault('a stream that is not 0')
        if (frame.type !== SAYS.warmed && this.said.some((one) => one.type === frame.type)) fault('twice')
        this.said.push(frame)
        if (frame.type === SAYS.exiting) this.control.end()
        return
      case SAYS.log:
      case SAYS.logLost: {
        const stream = frame.stream === 0 ? this.own : this.calls.get(frame.stream)
        if (!stream || stream.done) return void fault('a log of a call that does not run')
        if (frame.type === SAYS.logLost) {
          stream.lost += frame.payload.readUInt32LE(0)
          return
        }
        this.logsIncoming -= frame.payload.length
        if (this.logsIncoming < 0) fault('log bytes beyond credit')
        if (((frame.flags & FLAG.stdout) === 0) === ((frame.flags & FLAG.stderr) === 0)) fault('a log that is not of one output')
        stream.logBytes += frame.payload.length
        if (frame.flags & FLAG.stderr) stream.err += frame.payload
        else stream.out += frame.payload
        if (!this.withhold.logs) this.grantLogs(frame.payload.length)
        return
      }
      case SAYS.credit: {
        const bytes = frame.payload.readUInt32LE(0)
        const call = this.calls.get(frame.stream)
        if (!call) return void fault('credit for a call that never was')
        call.outgoing += bytes
        if (call.outgoing > STREAM_WINDOW) fault('more credit than the window')
        this.#pump(call)
        return
      }
    }
    const call = this.calls.get(frame.stream)
    if (!call || call.done) return void fault('a frame for a call that does not run')
    call.frames.push(frame)
    if (!this.said.some((one) => one.type === SAYS.loaded)) fault('a frame for a call before the code is loaded')
    const fin = (frame.flags & FLAG.fin) !== 0
    const decide = (outcome: 'result' | 'head' | 'stream' | 'error') => {
      if (call.outcome) fault('a second outcome')
      call.outcome = outcome
    }
    switch (frame.type) {
      case SAYS.result:
        decide('result')
        call.body = fin ? 'whole' : 'open'
        call.parts.push(frame.payload)
        break
      case SAYS.head:
        decide('head')
        call.body = fin ? 'none' : 'open'
        if ((frame.flags & FLAG.raw) === 0) break
        if (!fin) fault('a body with its head that is not whole')
        call.body = 'whole'
        call.parts.push(frame.payload.subarray(4 + frame.payload.readUInt32LE(0)))
        break
      case SAYS.stream:
        decide('stream')
        call.body = 'open'
        break
      case SAYS.callError:
        // In place of its end a stream may have an error.
        if (call.outcome === 'stream' && call.body === 'open') call.body = 'broken'
        else decide('error')
        break
      case SAYS.data:
        if (call.body !== 'open') fault('data where no body is open')
        call.parts.push(frame.payload)
        call.held += frame.payload.length
        call.incoming -= frame.payload.length
        this.sandboxIncoming -= frame.payload.length
        if (call.incoming < 0) fault('data beyond the credit of its stream')
        if (this.sandboxIncoming < 0) fault('data beyond the credit of the sandbox')
        if (!this.withhold.data) this.grant(frame.stream)
        break
      case SAYS.end:
        if (call.body !== 'open') fault('an end where no body is open')
        call.body = fin ? 'whole' : 'broken'
        break
    }
    if (frame.type === SAYS.done || frame.flags & FLAG.done) {
      if (!call.outcome) fault('done before an outcome')
      if (call.body === 'open') fault('done before the end of its body')
      call.done = true
    }
  }

  #onRelay(frame: Frame): void {
    const fault = (what: string) => this.faults.push(`relay: ${what} (type ${frame.type}, stream ${frame.stream})`)
    if (frame.type === RELAY.open) {
      if (frame.stream <= Math.max(0, ...this.relays.keys())) fault('an id that is not above all before it')
      this.relays.set(frame.stream, new Stream())
      return
    }
    const stream = this.relays.get(frame.stream)
    if (!stream) return void fault('a stream that was never opened')
    stream.frames.push(frame)
    if (stream.done) fault('something after reset')
    switch (frame.type) {
      case RELAY.data:
        if (stream.body !== 'none') fault('data after the end')
        stream.parts.push(frame.payload)
        stream.held += frame.payload.length
        stream.incoming -= frame.payload.length
        if (stream.incoming < 0) fault('data beyond the credit of its stream')
        if (!this.withhold.relay) this.grantRelay(frame.stream)
        return
      case RELAY.end:
        if (stream.body !== 'none') fault('a second end')
        stream.body = 'whole'
        return
      case RELAY.credit:
        stream.outgoing += frame.payload.readUInt32LE(0)
        if (stream.outgoing > STREAM_WINDOW) fault('more credit than the window')
        return
      case RELAY.reset:
        stream.done = true
    }
  }
  grantRelay(id: number): void {
    const stream = this.relays.get(id) as Stream
    stream.incoming += stream.held
    this.relay.write(encode(RELAY.credit, 0, id, u32(stream.held)))
    stream.held = 0
  }
  /** Sends as much as there is credit for. @returns how much that was */
  relayData(id: number, bytes: Buffer): number {
    const stream = this.relays.get(id) as Stream
    const piece = bytes.subarray(0, stream.outgoing)
    if (piece.length === 0) return 0
    stream.outgoing -= piece.length
    this.relay.write(Buffer.concat(encodePieces(RELAY.data, 0, id, piece)))
    return piece.length
  }

  /** What was written last before the process ended is whole. */
  async last(): Promise<{ code: number | null; signal: string | null }> {
    const exit = await Promise.race([this.exited, delay(PATIENCE_MS, null, { ref: false })])
    assert.ok(exit, `the guest does not end; it said: ${this.#transcript()}`)
    for (let i = 0; i < 200 && !this.control.closed; i++) await delay(5)
    assert.ok(this.control.closed, 'descriptor 3 does not end with the guest')
    assert.deepEqual(this.faults, [])
    assert.equal(this.#rest(), 0, 'the last frame is torn')
    return exit
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      process.kill(-(this.child.pid as number), 'SIGKILL')
    } catch {
      // it is gone
    }
    await this.exited
    this.control.destroy()
    this.relay.destroy()
    rmSync(this.folder, { recursive: true, force: true })
    assert.deepEqual(this.faults, [], 'the guest broke the law')
  }
}
