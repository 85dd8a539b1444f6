import { Duplex } from 'node:stream'
import { LIMITS } from '../core/limits.ts'
import { ChunkQueue } from './chunk-queue.ts'
import { Credit, creditOf, FLAG, type Frame, FrameWriter, MAX_PAYLOAD, ProtocolError, STREAM_WINDOW, TYPE } from './frames.ts'

/** The host's side of descriptor 4: the connections that the guest opens to the platform. */
export class RelaySide {
  readonly #writer: FrameWriter
  readonly #open: (connection: Duplex) => void
  readonly #streams = new Map<number, RelayStream>()
  #last = 0
  /** In this turn of the event loop. */
  #opened = 0
  #ended = false

  constructor(socket: Duplex, open: (connection: Duplex) => void) {
    this.#writer = new FrameWriter(socket)
    this.#open = open
  }

  /** @throws ProtocolError */
  take(frame: Frame): void {
    const { stream } = frame
    if (frame.type === TYPE.open) {
      if (stream <= this.#last) throw new ProtocolError('a relay stream was used twice')
      this.#last = stream
      // Those that are reset at once make room, and each has cost the thread that all sandboxes share.
      if (Math.max(this.#opened, this.#streams.size) >= LIMITS.relayConnections.value) {
        this.#writer.send(TYPE.reset, 0, stream)
        return
      }
      const relay = new RelayStream({
        write: async (bytes) => {
          await relay.outgoing.take(bytes.byteLength)
          await this.#writer.room()
          if (!this.#ended && this.#streams.has(stream)) this.#writer.sendData(TYPE.data, 0, stream, bytes)
        },
        end: () => this.#writer.sendData(TYPE.end, FLAG.fin, stream),
        gone: () => {
          if (this.#streams.delete(stream) && !this.#ended) this.#writer.sendData(TYPE.reset, 0, stream)
        },
        consumed: (bytes) => {
          if (!this.#ended) this.#writer.send(TYPE.credit, 0, stream, creditOf(bytes))
        },
      })
      if (this.#opened++ === 0) setImmediate(() => (this.#opened = 0))
      this.#streams.set(stream, relay)
      this.#open(relay)
      return
    }
    const relay = this.#streams.get(stream)
    if (!relay) {
      // What was on its way when our side closed the stream.
      if (stream !== 0 && stream <= this.#last) return
      throw new ProtocolError(`a frame for the relay stream ${stream}, which was never opened`)
    }
    switch (frame.type) {
      case TYPE.data:
        if (relay.heldBytes + frame.payload.length > STREAM_WINDOW) throw new ProtocolError('relay data beyond credit')
        relay.receive(frame.payload)
        return
      case TYPE.end:
        relay.receive(null)
        return
      case TYPE.reset:
        this.#streams.delete(stream)
        relay.destroy()
        return
      case TYPE.credit:
        if (frame.payload.length !== 4) throw new ProtocolError('a credit has four bytes')
        relay.outgoing.give(Math.min(frame.payload.readUInt32LE(0), STREAM_WINDOW))
        return
      default:
        throw new ProtocolError(`a frame of type ${frame.type} has no place on the relay descriptor`)
    }
  }

  end(): void {
    this.#ended = true
    for (const relay of this.#streams.values()) relay.destroy()
    this.#streams.clear()
    this.#writer.release()
  }
}

interface RelayWire {
  write(bytes: Uint8Array): Promise<void>
  end(): void
  gone(): void
  consumed(bytes: number): void
}

/** One connection of the guest to the platform, as a byte stream. */
class RelayStream extends Duplex {
  readonly #wire: RelayWire
  readonly outgoing = new Credit(STREAM_WINDOW)
  readonly #held = new ChunkQueue()
  #isWhole = false
  #wanted = false

  constructor(wire: RelayWire) {
    super({ readableHighWaterMark: MAX_PAYLOAD, writableHighWaterMark: MAX_PAYLOAD })
    this.#wire = wire
  }
  get heldBytes(): number {
    return this.#held.bytes
  }
  /** @param chunk  null: nothing follows */
  receive(chunk: Buffer | null): void {
    if (this.destroyed || this.#isWhole) return
    if (chunk === null) this.#isWhole = true
    else this.#held.push(chunk)
    if (this.#wanted) this.#deliver()
  }
  override _read(): void {
    this.#wanted = true
    this.#deliver()
  }
  #deliver(): void {
    while (this.#wanted) {
      const chunk = this.#held.shift()
      if (chunk === null) break
      this.#wire.consumed(chunk.length)
      this.#wanted = this.push(chunk)
    }
    if (this.#wanted && this.#isWhole) {
      this.#wanted = false
      this.push(null)
    }
  }
  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const send = async () => {
      for (let at = 0; at < chunk.length; at += MAX_PAYLOAD) await this.#wire.write(chunk.subarray(at, at + MAX_PAYLOAD))
    }
    send().then(() => done(), done)
  }
  override _final(done: (error?: Error | null) => void): void {
    this.#wire.end()
    done()
  }
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.outgoing.close()
    this.#wire.gone()
    done(error)
  }
}
