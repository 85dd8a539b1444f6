import type { Turns } from '../../lib/turns.ts'

/** What a JSON text is at its top, without what lies in its values. */
export interface Outline {
  readonly kind: 'array' | 'object' | 'other'
  readonly isEmpty: boolean
  /** The names of the object, or of the first element of the list; null where that is no object. Cut where they are too many. */
  readonly keys: readonly string[] | null
  /** Every element of the list is an object. */
  readonly areObjects: boolean
  /** And all have the same names. */
  readonly isEven: boolean
}

/** The text is no JSON. */
export class NotJson extends Error {}

const NEXT = { value: 0, firstElement: 1, firstKey: 2, key: 3, colon: 4, more: 5, end: 6 } as const
type Expected = (typeof NEXT)[keyof typeof NEXT]
const QUOTE = 0x22
const BACKSLASH = 0x5c
/** Between two looks at the clock. */
const STEPS = 2_000

/**
 * Reads a large JSON text as the bytes that it is: no value of it is made, since PostgreSQL reads them, and others have
 * their turn meanwhile.
 * @param compares  whether the names of all elements are wanted
 * @param mostKeys  more names than these are not told
 * @throws NotJson
 */
export async function outlineOf(bytes: Buffer, turns: Turns, compares: boolean, mostKeys: number): Promise<Outline> {
  const reader = new Reader(bytes, compares, mostKeys)
  while (!reader.read(STEPS)) if (turns.over) await turns.next()
  return reader.outline()
}

class Reader {
  readonly #bytes: Buffer
  readonly #names: Names
  #at = 0
  #expected: Expected = NEXT.value
  /** Of each level that is open, whether it is a list. */
  #lists = new Uint8Array(64)
  #depth = 0
  #kind: Outline['kind'] = 'other'
  #elements = 0
  #areObjects = true

  constructor(bytes: Buffer, compares: boolean, mostKeys: number) {
    this.#bytes = bytes
    this.#names = new Names(bytes, compares, mostKeys)
  }

  outline(): Outline {
    const isArray = this.#kind === 'array'
    const keys = this.#kind === 'object' || (isArray && this.#names.rows > 0 && this.#names.isOfFirst) ? this.#names.first : null
    return {
      kind: this.#kind,
      isEmpty: isArray ? this.#elements === 0 : (keys?.length ?? 0) === 0,
      keys,
      areObjects: isArray && this.#areObjects,
      isEven: isArray && this.#areObjects && this.#names.isEven,
    }
  }

  /** @returns whether all is read */
  read(steps: number): boolean {
    for (let step = 0; step < steps; step++) {
      const byte = this.#next()
      if (byte === -1) {
        if (this.#expected !== NEXT.end) throw new NotJson()
        return true
      }
      this.#take(byte)
    }
    return false
  }

  /** The byte behind the blanks; -1 at the end. */
  #next(): number {
    for (; this.#at < this.#bytes.length; this.#at++) {
      const byte = this.#bytes[this.#at] as number
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte
    }
    return -1
  }

  #take(byte: number): void {
    switch (this.#expected) {
      case NEXT.firstElement:
        if (byte === 0x5d) this.#close()
        else this.#value(byte)
        break
      case NEXT.value:
        this.#value(byte)
        break
      case NEXT.firstKey:
        if (byte === 0x7d) this.#close()
        else this.#key(byte)
        break
      case NEXT.key:
        this.#key(byte)
        break
      case NEXT.colon:
        if (byte !== 0x3a) throw new NotJson()
        this.#at++
        this.#expected = NEXT.value
        break
      case NEXT.more: {
        const isList = this.#lists[this.#depth - 1] === 1
        if (byte === (isList ? 0x5d : 0x7d)) this.#close()
        else if (byte !== 0x2c) throw new NotJson()
        else {
          this.#at++
          this.#expected = isList ? NEXT.value : NEXT.key
        }
        break
      }
      default:
        throw new NotJson()
    }
  }

  /** Whether the names of the level that is open count. */
  get #isRow(): boolean {
    return this.#kind === 'array' ? this.#depth === 2 && this.#lists[1] === 0 : this.#kind === 'object' && this.#depth === 1
  }

  #value(byte: number): void {
    if (this.#depth === 0) this.#kind = byte === 0x5b ? 'array' : byte === 0x7b ? 'object' : 'other'
    else if (this.#depth === 1 && this.#kind === 'array') {
      if (byte !== 0x7b) {
        this.#areObjects = false
        if (this.#elements === 0) this.#names.isOfFirst = false
      }
      this.#elements++
    }
    if (byte === 0x5b || byte === 0x7b) this.#open(byte === 0x5b)
    else {
      if (byte === QUOTE) this.#string()
      else if (byte === 0x2d || (byte >= 0x30 && byte <= 0x39)) this.#number()
      else this.#word(byte)
      this.#expected = this.#depth === 0 ? NEXT.end : NEXT.more
    }
  }

  #open(isList: boolean): void {
    if (this.#depth === this.#lists.length) {
      const more = new Uint8Array(this.#lists.length * 2)
      more.set(this.#lists)
      this.#lists = more
    }
    this.#lists[this.#depth++] = isList ? 1 : 0
    this.#at++
    this.#expected = isList ? NEXT.firstElement : NEXT.firstKey
  }

  #close(): void {
    if (this.#isRow) this.#names.endRow()
    this.#depth--
    this.#at++
    this.#expected = this.#depth === 0 ? NEXT.end : NEXT.more
  }

  #key(byte: number): void {
    if (byte !== QUOTE) throw new NotJson()
    const from = this.#at
    const isPlain = this.#string()
    if (this.#isRow) this.#names.add(from + 1, this.#at - 1, isPlain)
    this.#expected = NEXT.colon
  }

  /** @returns whether nothing in it is escaped */
  #string(): boolean {
    const bytes = this.#bytes
    let isPlain = true
    for (let at = this.#at + 1; at < bytes.length; at++) {
      const byte = bytes[at] as number
      if (byte === QUOTE) {
        this.#at = at + 1
        return isPlain
      }
      if (byte < 0x20) throw new NotJson()
      if (byte !== BACKSLASH) continue
      isPlain = false
      at++
      const escaped = bytes[at] ?? 0
      if (escaped === 0x75) {
        for (let digit = 1; digit <= 4; digit++) if (!isHex(bytes[at + digit] ?? 0)) throw new NotJson()
        at += 4
      } else if (!ESCAPED.has(escaped)) throw new NotJson()
    }
    throw new NotJson()
  }

  #digits(): void {
    const from = this.#at
    while (isDigit(this.#bytes[this.#at] ?? 0)) this.#at++
    if (this.#at === from) throw new NotJson()
  }

  #number(): void {
    if (this.#bytes[this.#at] === 0x2d) this.#at++
    if (this.#bytes[this.#at] === 0x30) this.#at++
    else this.#digits()
    if (this.#bytes[this.#at] === 0x2e) {
      this.#at++
      this.#digits()
    }
    if (((this.#bytes[this.#at] ?? 0) | 0x20) !== 0x65) return
    this.#at++
    if (this.#bytes[this.#at] === 0x2b || this.#bytes[this.#at] === 0x2d) this.#at++
    this.#digits()
  }

  #word(byte: number): void {
    const word = byte === 0x74 ? 'true' : byte === 0x66 ? 'false' : 'null'
    if (this.#bytes.toString('latin1', this.#at, this.#at + word.length) !== word) throw new NotJson()
    this.#at += word.length
  }
}

const ESCAPED = new Set([...'"\\/bfnrt'].map((each) => each.charCodeAt(0)))
const isDigit = (byte: number) => byte >= 0x30 && byte <= 0x39
const isHex = (byte: number) => isDigit(byte) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66)

/** The names of rows, compared with those of the first. */
class Names {
  readonly #bytes: Buffer
  readonly #compares: boolean
  readonly #most: number
  /** Where the names of the first row lie. */
  readonly #places: number[] = []
  readonly #firstSet = new Set<string>()
  #count = 0
  /** The names of a row that has others than the first, or has them in another order. */
  #own: Set<string> | null = null
  rows = 0
  isEven = true
  /** The first row is the first element too. */
  isOfFirst = true

  constructor(bytes: Buffer, compares: boolean, most: number) {
    this.#bytes = bytes
    this.#compares = compares
    this.#most = most
  }

  get first(): readonly string[] {
    return [...this.#firstSet]
  }

  add(from: number, to: number, isPlain: boolean): void {
    const place = this.#count++
    if (this.rows === 0) {
      if (this.#firstSet.size >= this.#most) return
      this.#places.push(from, to)
      this.#firstSet.add(this.#text(from, to, isPlain))
      return
    }
    if (!this.#compares || !this.isEven) return
    if (this.#own) this.#own.add(this.#text(from, to, isPlain))
    else if (!this.#isAt(place, from, to)) {
      this.#own = new Set()
      for (let each = 0; each < place; each++) this.#own.add(this.#text(this.#places[2 * each] as number, this.#places[2 * each + 1] as number, false))
      this.#own.add(this.#text(from, to, isPlain))
    }
  }

  endRow(): void {
    const own = this.#own
    if (own) this.isEven = own.size === this.#firstSet.size && [...own].every((name) => this.#firstSet.has(name))
    else if (this.rows > 0 && this.#compares && this.#count * 2 !== this.#places.length) this.isEven &&= this.#hasAll()
    this.#own = null
    this.#count = 0
    this.rows++
  }

  /** Fewer names than the first row wrote: the same ones where it wrote some of them twice. */
  #hasAll(): boolean {
    const names = new Set<string>()
    for (let place = 0; place < this.#count; place++) names.add(this.#text(this.#places[2 * place] as number, this.#places[2 * place + 1] as number, false))
    return names.size === this.#firstSet.size
  }

  #text(from: number, to: number, isPlain: boolean): string {
    return isPlain ? this.#bytes.toString('utf8', from, to) : (JSON.parse(`"${this.#bytes.toString('utf8', from, to)}"`) as string)
  }

  #isAt(place: number, from: number, to: number): boolean {
    const start = this.#places[2 * place]
    if (start === undefined || (this.#places[2 * place + 1] as number) - start !== to - from) return false
    for (let at = 0; at < to - from; at++) if (this.#bytes[start + at] !== this.#bytes[from + at]) return false
    return true
  }
}
