/** One statement of a script, or what stands behind a backslash at the beginning of one. */
export interface Piece {
  readonly kind: 'statement' | 'command'
  readonly text: string
  /** Of its first character, from 1. */
  readonly line: number
}

export interface Split {
  readonly pieces: readonly Piece[]
  /** What is not ended yet, and its line. */
  readonly rest: string
  readonly restLine: number
  /** The last of the pieces is `copy … from stdin`: what is left begins with its rows. */
  readonly copies: boolean
}

const COPY_IN = /^copy\b[\s\S]*\bfrom\s+stdin\b/i
const ROUTINE = /^create\s+(or\s+replace\s+)?(function|procedure)\b/i
const BLANK = /^(\s|--[^\n]*(\n|$)|\/\*[\s\S]*?\*\/)*/

/** Nothing but blanks and comments. */
export const isBlank = (text: string): boolean => (BLANK.exec(text) as RegExpExecArray)[0].length === text.length

/**
 * Cuts a script at the semicolons that end statements, as psql does: not in quotes, dollar quotes, comments, brackets or
 * the body of a routine in standard SQL.
 * @param isWhole  nothing follows: what is not ended ends here
 */
export function splitStatements(script: string, isWhole: boolean): Split {
  const pieces: Piece[] = []
  let from = 0
  let at = 0
  let brackets = 0
  let bodies = 0
  let line = 1
  let counted = 0
  const lineAt = (offset: number) => {
    for (; counted < offset; counted++) if (script[counted] === '\n') line++
    return line
  }
  let copies = false
  /** @returns false where rows follow, or their line is not there yet */
  const take = (end: number, next: number): boolean => {
    const blank = (BLANK.exec(script.slice(from, end)) as RegExpExecArray)[0].length
    const text = script.slice(from + blank, end).trimEnd()
    let after = next
    if (COPY_IN.test(text)) {
      const lineEnd = script.indexOf('\n', next)
      if (lineEnd === -1 && !isWhole) return false
      after = lineEnd === -1 ? script.length : lineEnd + 1
      copies = true
    }
    if (text !== '') pieces.push({ kind: 'statement', text, line: lineAt(from + blank) })
    from = at = after
    brackets = bodies = 0
    return !copies
  }
  const result = (): Split => ({ pieces, rest: script.slice(from), restLine: lineAt(from), copies })
  while (at < script.length) {
    const skipped = skip(script, at)
    if (skipped === -1) {
      // A quote or a comment that is not ended.
      at = script.length
      break
    }
    if (skipped > at) {
      at = skipped
      continue
    }
    const char = script[at] as string
    if (char === '\\' && script.slice(from, at).replace(BLANK, '') === '') {
      const end = script.indexOf('\n', at)
      if (end === -1 && !isWhole) break
      const stop = end === -1 ? script.length : end
      pieces.push({ kind: 'command', text: script.slice(at, stop).trim(), line: lineAt(at) })
      from = at = stop
      continue
    }
    if (char === '(') brackets++
    else if (char === ')') brackets = Math.max(0, brackets - 1)
    else if (char === ';' && brackets === 0 && bodies === 0) {
      if (!take(at, at + 1)) return result()
      continue
    } else if (/[a-z_]/i.test(char)) {
      const word = (/^[\w$\u0080-\uffff]+/.exec(script.slice(at, at + 128)) as RegExpExecArray)[0]
      if (/^(begin|case|end)$/i.test(word) && ROUTINE.test(script.slice(from, at).replace(BLANK, ''))) {
        if (/^end$/i.test(word)) bodies = Math.max(0, bodies - 1)
        else if (bodies > 0 || (/^begin$/i.test(word) && /^\s+atomic\b/i.test(script.slice(at + word.length, at + word.length + 64)))) bodies++
      }
      at += word.length
      continue
    }
    at++
  }
  if (isWhole) take(script.length, script.length)
  return result()
}

/** Where what is quoted or commented at this place ends; the place itself where nothing is, -1 where it does not end. */
function skip(script: string, at: number): number {
  const char = script[at] as string
  const beyond = (end: string, from: number) => {
    const found = script.indexOf(end, from)
    return found === -1 ? -1 : found + end.length
  }
  if (char === '-' && script[at + 1] === '-') {
    const end = script.indexOf('\n', at)
    return end === -1 ? script.length : end
  }
  if (char === '/' && script[at + 1] === '*') {
    let depth = 0
    for (let next = at; next < script.length; next++) {
      const two = script.slice(next, next + 2)
      if (two === '/*') depth++
      else if (two === '*/') depth--
      else continue
      next++
      if (depth === 0) return next + 1
    }
    return -1
  }
  if (char === '"') return beyond('"', at + 1)
  if (char === "'") {
    // Only after an E do backslashes hide a quote.
    if (!/(^|[^\w$])e$/i.test(script.slice(Math.max(0, at - 2), at))) return beyond("'", at + 1)
    for (let next = at + 1; next < script.length; next++) {
      if (script[next] === '\\') next++
      else if (script[next] === "'") return next + 1
    }
    return -1
  }
  if (char === '$' && !/[\w$]/.test(script[at - 1] ?? '')) {
    const tag = /^\$([a-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/i.exec(script.slice(at, at + 66))?.[0]
    if (tag !== undefined) return beyond(tag, at + tag.length)
  }
  return at
}
