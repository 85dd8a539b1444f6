import type { Reader } from './log-pattern-reader.ts'
import { finder } from './text-search.ts'

export type Value = string | number | boolean
export type Condition = (value: Value) => boolean

const OPERATORS = ['>=', '<=', '!=', '=', '>', '<'] as const
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/

/** An operator and what a value is held against: a number, a text in quotes, or a word; in texts `*` is anything. */
export function conditionOn(reader: Reader): Condition {
  const operator = OPERATORS.find((mark) => reader.take(mark))
  if (operator === undefined) throw reader.fault('`=`, `!=`, `<`, `<=`, `>` or `>=` is missing')
  if (reader.peek() === '%') throw reader.fault('regular expressions are not taken')
  const isQuoted = reader.peek() === '"'
  const wanted = isQuoted ? reader.quoted() : reader.until(/[\s,\](){}&|"]/, 'a value')
  reader.space()
  const number = !isQuoted && NUMBER.test(wanted) ? Number(wanted) : null
  if (operator === '=' || operator === '!=') {
    const text = wildcard(wanted)
    const same: Condition = (value) => (number !== null && numberOf(value) === number) || text(String(value))
    return operator === '=' ? same : (value) => !same(value)
  }
  if (number === null) throw reader.fault(`\`${operator}\` takes a number`)
  return (value) => {
    const own = numberOf(value)
    if (own === null) return false
    switch (operator) {
      case '<':
        return own < number
      case '<=':
        return own <= number
      case '>':
        return own > number
      case '>=':
        return own >= number
    }
  }
}

const numberOf = (value: Value): number | null =>
  typeof value === 'number' ? value : typeof value === 'string' && value.length < 100 && NUMBER.test(value) ? Number(value) : null

/** The parts between stars stand one behind the other: each is looked for once, from where the one before ended. */
function wildcard(wanted: string): (text: string) => boolean {
  const parts = wanted.split('*')
  const [first = ''] = parts
  if (parts.length === 1) return (text) => text === first
  const last = parts.at(-1) ?? ''
  const middle = parts
    .slice(1, -1)
    .filter((part) => part !== '')
    .map((part) => ({ length: part.length, find: finder(part) }))
  return (text) => {
    if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false
    let at = first.length
    for (const { length, find } of middle) {
      const found = find(text, at)
      if (found === -1) return false
      at = found + length
    }
    return at <= text.length - last.length
  }
}
