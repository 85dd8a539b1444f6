import { BlockList, isIP } from 'node:net'

/*
 * Patterns of events, as Amazon EventBridge has them: an object with the fields that an event has to have, each with a
 * list of what it may be. Whatever the event has beside them is of no account.
 */

export type Pattern = Readonly<Record<string, unknown>>

/** A pattern is looked at for each event: it stays small. */
const MAX_CHARS = 4_096
const MAX_DEPTH = 16

/** What is wrong with a pattern, in words for its author. */
export class PatternError extends Error {
  override readonly name = 'PatternError'
}

type Test = (value: unknown) => boolean
type Kinds = Readonly<Record<string, (wanted: unknown, at: string) => Test>>

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === 'object' && value !== null && !Array.isArray(value)
const isLiteral = (value: unknown) => value === null || ['string', 'number', 'boolean'].includes(typeof value)
const onText =
  (test: (text: string) => boolean): Test =>
  (value) =>
    typeof value === 'string' && test(value)

function textOf(wanted: unknown, at: string): string {
  if (typeof wanted !== 'string' || wanted === '') throw new PatternError(`${at}: must be a text that is not empty`)
  return wanted
}

/** A text, or one in capitals or small letters. */
const edge =
  (test: (text: string, wanted: string) => boolean) =>
  (wanted: unknown, at: string): Test => {
    if (!isObject(wanted)) {
      const text = textOf(wanted, at)
      return onText((value) => test(value, text))
    }
    const text = textOf(only(wanted, ['equals-ignore-case'], at)[1], at).toLowerCase()
    return onText((value) => test(value.toLowerCase(), text))
  }

/** Stars are any text; `\*` and `\\` are themselves. */
function wildcard(wanted: unknown, at: string): Test {
  const parts: string[] = []
  let part = ''
  const text = textOf(wanted, at)
  for (let n = 0; n < text.length; n++) {
    const char = text[n] as string
    if (char === '*') {
      if (text[n + 1] === '*') throw new PatternError(`${at}: must not have two stars in a row`)
      parts.push(part)
      part = ''
      continue
    }
    if (char === '\\' && text[n + 1] !== '*' && text[n + 1] !== '\\') throw new PatternError(`${at}: a backslash stands before a star or a backslash`)
    part += char === '\\' ? text[++n] : char
  }
  parts.push(part)
  const [first = '', ...rest] = parts
  const last = rest.pop()
  if (last === undefined) return (value) => value === first
  return onText((value) => {
    if (!value.startsWith(first) || !value.endsWith(last) || value.length < first.length + last.length) return false
    let from = first.length
    for (const part of rest) {
      const found = value.indexOf(part, from)
      if (found === -1) return false
      from = found + part.length
    }
    return from <= value.length - last.length
  })
}

const COMPARE: Readonly<Record<string, (value: number, than: number) => boolean>> = {
  '=': (value, than) => value === than,
  '<': (value, than) => value < than,
  '<=': (value, than) => value <= than,
  '>': (value, than) => value > than,
  '>=': (value, than) => value >= than,
}

/** `["=", 5]`, `[">", 0]`, or a range: `[">=", 0, "<", 5]`. */
function numeric(wanted: unknown, at: string): Test {
  const fault = new PatternError(`${at}: must be such as ["=", 5], [">", 0] or [">=", 0, "<", 5]`)
  if (!Array.isArray(wanted) || (wanted.length !== 2 && wanted.length !== 4)) throw fault
  const [first, , second] = wanted as unknown[]
  if (wanted.length === 4 && !(String(first).startsWith('>') && String(second).startsWith('<'))) throw fault
  const tests: ((value: number) => boolean)[] = []
  for (let n = 0; n < wanted.length; n += 2) {
    const [operator, than] = [wanted[n], wanted[n + 1]] as [unknown, unknown]
    const compare = typeof operator === 'string' && Object.hasOwn(COMPARE, operator) ? COMPARE[operator] : undefined
    if (!compare || typeof than !== 'number' || !Number.isFinite(than)) throw fault
    tests.push((value) => compare(value, than))
  }
  return (value) => typeof value === 'number' && tests.every((test) => test(value))
}

function cidr(wanted: unknown, at: string): Test {
  const [address = '', bits = '', ...more] = textOf(wanted, at).split('/')
  const family = isIP(address)
  if (family === 0 || more.length > 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128))
    throw new PatternError(`${at}: must be a network such as 10.0.0.0/24`)
  const list = new BlockList()
  const name = (version: number) => (version === 4 ? 'ipv4' : 'ipv6')
  list.addSubnet(address, Number(bits), name(family))
  return onText((value) => isIP(value) === family && list.check(value, name(family)))
}

const NAMES: Kinds = {
  prefix: edge((text, wanted) => text.startsWith(wanted)),
  suffix: edge((text, wanted) => text.endsWith(wanted)),
  wildcard,
  'equals-ignore-case': (wanted, at) => {
    if (typeof wanted !== 'string') throw new PatternError(`${at}: must be a text`)
    const text = wanted.toLowerCase()
    return onText((value) => value.toLowerCase() === text)
  },
}

/** None of these literals, or none of what one of the others says. */
function anythingBut(wanted: unknown, at: string): Test {
  const none =
    (tests: readonly Test[]): Test =>
    (value) =>
      !tests.some((test) => test(value))
  if (isObject(wanted)) {
    const [name, given] = only(wanted, Object.keys(NAMES), at)
    const make = NAMES[name] as Kinds[string]
    return none(listOf(given, at).map((one) => make(one, `${at}.${name}`)))
  }
  const literals = listOf(wanted, at)
  if (!literals.every((one) => typeof one === 'string') && !literals.every((one) => typeof one === 'number'))
    throw new PatternError(`${at}: must be texts or numbers`)
  return none(literals.map((one) => (value) => value === one))
}

function listOf(given: unknown, at: string): readonly unknown[] {
  const list = Array.isArray(given) ? (given as readonly unknown[]) : [given]
  if (list.length === 0) throw new PatternError(`${at}: must not be empty`)
  return list
}

const KINDS: Kinds = { ...NAMES, 'anything-but': anythingBut, numeric, cidr }

/** The one field of an object. */
function only(value: Readonly<Record<string, unknown>>, names: readonly string[], at: string): [string, unknown] {
  const [first, ...more] = Object.entries(value)
  if (!first || more.length > 0 || !names.includes(first[0])) throw new PatternError(`${at}: must have one of ${names.map((name) => `\`${name}\``).join(', ')}`)
  return first
}

/** Of what stands in a field: what is no object, each by itself where it is a list. */
const leavesOf = (value: unknown): readonly unknown[] => {
  const all = (Array.isArray(value) ? value.flat(Number.POSITIVE_INFINITY) : [value]) as unknown[]
  return all.filter((one) => one !== undefined && !isObject(one))
}

function field(wanted: unknown, at: string): (value: unknown) => boolean {
  if (isObject(wanted)) {
    const test = compiled(wanted, at)
    return (value) => {
      const objects = (Array.isArray(value) ? (value.flat(Number.POSITIVE_INFINITY) as unknown[]) : [value]).filter(isObject)
      // What is not there may be what is wanted.
      return objects.length === 0 ? test({}) : objects.some(test)
    }
  }
  if (!Array.isArray(wanted) || wanted.length === 0) throw new PatternError(`${at}: must be a list of what it may be, or an object with fields of its own`)
  const tests: Test[] = []
  let absent = false
  wanted.forEach((one: unknown, n) => {
    const where = `${at}.${n}`
    if (isLiteral(one)) tests.push((value) => value === one)
    else if (isObject(one)) {
      const [name, given] = only(one, [...Object.keys(KINDS), 'exists'], where)
      if (name !== 'exists') tests.push((KINDS[name] as Kinds[string])(given, `${where}.${name}`))
      else if (given === true) tests.push(() => true)
      else if (given === false) absent = true
      else throw new PatternError(`${where}.exists: must be true or false`)
    } else throw new PatternError(`${where}: must not be a list`)
  })
  return (value) => {
    const leaves = leavesOf(value)
    return leaves.length === 0 ? absent : leaves.some((leaf) => tests.some((test) => test(leaf)))
  }
}

function compiled(pattern: Pattern, at: string): (event: Readonly<Record<string, unknown>>) => boolean {
  const entries = Object.entries(pattern)
  const within = (name: string) => (at === '' ? name : `${at}.${name}`)
  if (entries.length === 0) throw new PatternError(`${at === '' ? 'a pattern' : at}: must have a field`)
  const tests = entries.map(([name, wanted]): ((event: Readonly<Record<string, unknown>>) => boolean) => {
    if (name === '$or') {
      if (!Array.isArray(wanted) || wanted.length < 2 || !wanted.every(isObject))
        throw new PatternError(`${within(name)}: must be a list of two patterns or more`)
      const some = (wanted as Pattern[]).map((one, n) => compiled(one, within(`$or.${n}`)))
      return (event) => some.some((test) => test(event))
    }
    const test = field(wanted, within(name))
    return (event) => test(Object.hasOwn(event, name) ? event[name] : undefined)
  })
  return (event) => tests.every((test) => test(event))
}

/** Whether a value of JSON has lists and objects in each other deeper than that; asked before anything goes down into it. */
export function isDeeperThan(value: unknown, depth: number): boolean {
  let level: unknown[] = [value]
  for (let at = 0; level.length > 0; at++) {
    if (at > depth) return true
    level = level.flatMap((one) => (typeof one === 'object' && one !== null ? Object.values(one) : [])).filter((one) => typeof one === 'object' && one !== null)
  }
  return false
}

/** Tells of each event whether it is of the pattern. @throws PatternError */
export function eventPattern(pattern: unknown): (event: Readonly<Record<string, unknown>>) => boolean {
  if (!isObject(pattern)) throw new PatternError('must be an object with the fields that an event has to have')
  if (isDeeperThan(pattern, MAX_DEPTH)) throw new PatternError(`must not go deeper than ${MAX_DEPTH}`)
  if (JSON.stringify(pattern).length > MAX_CHARS) throw new PatternError(`must have at most ${MAX_CHARS} characters`)
  return compiled(pattern, '')
}

/** Null when it is one. */
export function patternFault(pattern: unknown): string | null {
  try {
    eventPattern(pattern)
    return null
  } catch (error) {
    if (error instanceof PatternError) return error.message
    throw error
  }
}
