import { conditionOn, type Condition, type Value } from './log-condition.ts'
import { finder } from './text-search.ts'
import { LogPatternError, MAX_CHARS, Reader } from './log-pattern-reader.ts'

/*
 * Filter patterns of Amazon CloudWatch Logs: terms (`ERROR -"no matter" ?WARN`), JSON (`{ $.level = "error" && $.ms > 100 }`)
 * and fields between spaces (`[ip, ..., status = 4*, bytes]`). There are no regular expressions: each part of a
 * pattern looks at a line once.
 */

/** Whether a line fits. */
export type LineTest = (line: string) => boolean

/** Lambda's own text before what was said: `time, tab, id, tab, level, tab`. */
const PREFIX = /^[^\t]{1,40}\t[^\t]{1,40}\t[A-Z]{1,10}\t/
const MAX_TERMS = 64

type Find = ReturnType<typeof finder>

/** @throws LogPatternError in words for its author */
export function logPattern(pattern: string): LineTest {
  if (pattern.length > MAX_CHARS) throw new LogPatternError(`must be at most ${MAX_CHARS} characters`)
  const text = pattern.trim()
  if (text === '') return () => true
  const reader = new Reader(text)
  if (text.startsWith('{')) return ofJson(reader)
  if (text.startsWith('[')) return ofFields(reader)
  return ofTerms(reader)
}

/** What is wrong with it; null when nothing is. */
export function logPatternFault(pattern: string): string | null {
  try {
    logPattern(pattern)
    return null
  } catch (error) {
    if (error instanceof LogPatternError) return error.message
    throw error
  }
}

function ofTerms(reader: Reader): LineTest {
  const all: string[] = []
  const none: string[] = []
  const any: string[] = []
  while (!reader.atEnd()) {
    const mark = reader.take('-') ? none : reader.take('?') ? any : all
    if (reader.peek() === '%') throw reader.fault('regular expressions are not taken')
    mark.push(reader.peek() === '"' ? reader.quoted() : reader.until(/[\s"]/, 'a term'))
    reader.space()
  }
  if (any.length > 0 && all.length > 0) throw new LogPatternError('terms with `?` cannot stand beside terms that have to be there')
  if (all.length + none.length + any.length > MAX_TERMS) throw new LogPatternError(`must have at most ${MAX_TERMS} terms`)
  const [every, no, some] = [all, none, any].map((terms) => terms.map(finder)) as [Find[], Find[], Find[]]
  const has = (line: string) => (find: Find) => find(line, 0) !== -1
  return (line) => every.every(has(line)) && !no.some(has(line)) && (some.length === 0 || some.some(has(line)))
}

function ofJson(reader: Reader): LineTest {
  reader.expect('{')
  const condition = either(reader, jsonTerm)
  reader.expect('}')
  reader.end()
  return (line) => {
    const value = jsonOf(line)
    return value !== undefined && condition(value)
  }
}

function jsonOf(line: string): unknown {
  const text = line.startsWith('{') || line.startsWith('[') ? line : line.replace(PREFIX, '')
  if (!/^\s*[{[]/.test(text)) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

type Test<T> = (value: T) => boolean

/** `a || b && (c)`: as everywhere, && holds closer. */
function either<T>(reader: Reader, term: (reader: Reader) => Test<T>): Test<T> {
  const ways = [both(reader, term)]
  while (reader.take('||')) ways.push(both(reader, term))
  return ways.length === 1 ? (ways[0] as Test<T>) : (value) => ways.some((way) => way(value))
}

function both<T>(reader: Reader, term: (reader: Reader) => Test<T>): Test<T> {
  const parts = [grouped(reader, term)]
  while (reader.take('&&')) parts.push(grouped(reader, term))
  return parts.length === 1 ? (parts[0] as Test<T>) : (value) => parts.every((part) => part(value))
}

function grouped<T>(reader: Reader, term: (reader: Reader) => Test<T>): Test<T> {
  if (!reader.take('(')) return term(reader)
  return reader.deeper(() => {
    const inner = either(reader, term)
    reader.expect(')')
    return inner
  })
}

type Step = string | number | '*'
interface Path {
  readonly steps: readonly { readonly kind: 'name' | 'index' | 'all'; readonly at: Step }[]
}

function jsonTerm(reader: Reader): Test<unknown> {
  const path = pathOf(reader)
  if (reader.word('NOT')) {
    if (!reader.word('EXISTS')) throw reader.fault('`NOT EXISTS` is what can stand here')
    return (value) => !found(value, path).some(() => true)
  }
  if (reader.word('EXISTS')) return (value) => found(value, path).some(() => true)
  if (reader.word('IS')) {
    const wanted = reader.word('TRUE') ? true : reader.word('FALSE') ? false : reader.word('NULL') ? null : undefined
    if (wanted === undefined) throw reader.fault('`IS` has TRUE, FALSE or NULL behind it')
    return (value) => found(value, path).some((one) => one === wanted)
  }
  const condition = conditionOn(reader)
  return (value) => {
    const all = found(value, path)
    return all.length > 0 && all.some((one) => fits(condition, one))
  }
}

const fits = (condition: Condition, value: unknown): boolean =>
  (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') && condition(value as Value)

function pathOf(reader: Reader): Path {
  reader.expect('$')
  const steps: Path['steps'][number][] = []
  for (;;) {
    if (reader.takeHere('.')) {
      if (reader.takeHere('*')) steps.push({ kind: 'all', at: '*' })
      else steps.push({ kind: 'name', at: reader.until(/[\s.[\]=!<>(){}&|"]/, 'the name of a field') })
    } else if (reader.takeHere('[')) {
      if (reader.takeHere('*')) steps.push({ kind: 'all', at: '*' })
      else if (reader.peek() === '"') steps.push({ kind: 'name', at: reader.quotedHere() })
      else steps.push({ kind: 'index', at: reader.index() })
      reader.expect(']', false)
    } else break
  }
  if (steps.length === 0) throw reader.fault('a field is written as `$.level`')
  reader.space()
  return { steps }
}

/** How many values one star may stand for, stars together. */
const MOST_FOUND = 1_000

function found(value: unknown, { steps }: Path): unknown[] {
  let here: unknown[] = [value]
  for (const { kind, at } of steps) {
    const next: unknown[] = []
    for (const one of here) {
      if (typeof one !== 'object' || one === null) continue
      if (kind === 'all') {
        for (const each of Object.values(one) as unknown[]) if (next.push(each) >= MOST_FOUND) break
      } else if (kind === 'index' ? Array.isArray(one) && (at as number) < one.length : !Array.isArray(one) && Object.hasOwn(one, at)) {
        next.push((one as Record<string | number, unknown>)[at])
      }
      if (next.length >= MOST_FOUND) break
    }
    here = next
  }
  return here
}

interface Field {
  readonly test: Test<Value> | null
}

const MAX_FIELDS = 64

function ofFields(reader: Reader): LineTest {
  reader.expect('[')
  const before: Field[] = []
  const behind: Field[] = []
  let open = false
  while (!reader.take(']')) {
    if (before.length + behind.length > 0 || open) reader.expect(',')
    if (reader.take('...')) {
      if (open) throw reader.fault('`...` can stand once')
      open = true
      continue
    }
    ;(open ? behind : before).push(fieldOf(reader))
    if (before.length + behind.length > MAX_FIELDS) throw new LogPatternError(`must have at most ${MAX_FIELDS} fields`)
  }
  reader.end()
  const least = before.length + behind.length
  return (line) => {
    const fields = fieldsOf(line)
    if (open ? fields.length < least : fields.length !== least) return false
    const from = fields.length - behind.length
    const fit = ({ test }: Field, n: number) => test === null || test(fields[n] ?? '')
    return before.every((field, n) => fit(field, n)) && behind.every((field, n) => fit(field, from + n))
  }
}

function fieldOf(reader: Reader): Field {
  let name: string | null = null
  const term = (): Test<Value> => {
    const own = reader.until(/[\s,\]=!<>(){}&|"]/, 'the name of a field')
    reader.space()
    if (name !== null && own !== name) throw reader.fault(`a condition of \`${name}\` cannot be one of \`${own}\``)
    name = own
    // A name alone stands for any.
    return /[=!<>]/.test(reader.peek()) ? conditionOn(reader) : () => true
  }
  const test = either(reader, term)
  return { test }
}

/** What stands between spaces; in quotes or in square brackets spaces are part of it. */
function fieldsOf(line: string): string[] {
  const fields: string[] = []
  for (let at = 0; at < line.length; ) {
    const char = line[at] as string
    if (/\s/.test(char)) {
      at++
      continue
    }
    const close = char === '"' ? '"' : char === '[' ? ']' : null
    const end = close === null ? -1 : line.indexOf(close, at + 1)
    if (end !== -1) {
      fields.push(line.slice(at + 1, end))
      at = end + 1
      continue
    }
    let stop = at
    while (stop < line.length && !/\s/.test(line[stop] as string)) stop++
    fields.push(line.slice(at, stop))
    at = stop
    // Past this no pattern looks.
    if (fields.length > MOST_FOUND) break
  }
  return fields
}
