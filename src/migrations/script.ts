/** One statement of a file, and where in it. */
export interface Statement {
  readonly text: string
  /** The line of the file on which it begins, from 1. */
  readonly line: number
  /** Its first words, in capitals, without comments: `CREATE TABLE`. */
  readonly words: readonly string[]
}

const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y
const DOLLAR = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y
const KEPT_WORDS = 3

/**
 * Takes a file apart at the semicolons that end statements: not those in texts, names, comments, parentheses or bodies.
 * What it takes for one statement is sent as one, and PostgreSQL refuses several there: so nothing hangs on its judgement
 * but the line that a fault is told by.
 */
export function statementsIn(sql: string): Statement[] {
  const statements: Statement[] = []
  let begins = -1
  let parentheses = 0
  let bodies = 0
  let words: string[] = []
  let last = ''
  const lineOf = lines(sql)
  const end = (at: number) => {
    if (begins !== -1) statements.push({ text: sql.slice(begins, at).trimEnd(), line: lineOf(begins), words })
    begins = -1
    parentheses = bodies = 0
    words = []
    last = ''
  }
  for (let at = 0; at < sql.length; ) {
    const comment = commentEnd(sql, at)
    if (comment !== at) {
      at = comment
      continue
    }
    const char = sql[at] as string
    if (/\s/.test(char)) {
      at++
      continue
    }
    if (char === ';' && parentheses === 0 && bodies === 0) {
      end(at)
      at++
      continue
    }
    if (begins === -1) begins = at
    if (char === '(') parentheses++
    else if (char === ')') parentheses = Math.max(0, parentheses - 1)
    const word = match(WORD, sql, at)
    if (word !== null) {
      const next = sql[at + word.length]
      if (next === "'" && /^e$/i.test(word)) {
        at = quotedEnd(sql, at + 1, "'", true)
        continue
      }
      const upper = word.toUpperCase()
      if (words.length < KEPT_WORDS) words.push(upper)
      if (upper === 'ATOMIC' && last === 'BEGIN') bodies = 1
      else if (bodies > 0 && upper === 'CASE') bodies++
      else if (bodies > 0 && upper === 'END') bodies--
      last = upper
      at += word.length
      continue
    }
    last = ''
    if (char === "'" || char === '"') at = quotedEnd(sql, at, char, false)
    else if (char === '$') {
      const tag = match(DOLLAR, sql, at)
      const close = tag === null ? -1 : sql.indexOf(tag, at + tag.length)
      at = tag === null ? at + 1 : close === -1 ? sql.length : close + tag.length
    } else if (/\d/.test(char)) at += (match(/[\w.$]+/y, sql, at) as string).length
    else at++
  }
  end(sql.length)
  return statements
}

/** Where the comment that begins here is over; `at` when none does. */
function commentEnd(sql: string, at: number): number {
  if (sql.startsWith('--', at)) {
    const end = sql.indexOf('\n', at)
    return end === -1 ? sql.length : end
  }
  if (!sql.startsWith('/*', at)) return at
  let depth = 0
  for (let i = at; i < sql.length; i++) {
    if (sql.startsWith('/*', i)) {
      depth++
      i++
    } else if (sql.startsWith('*/', i)) {
      depth--
      i++
      if (depth === 0) return i + 1
    }
  }
  return sql.length
}

function quotedEnd(sql: string, at: number, quote: string, escapes: boolean): number {
  for (let i = at + 1; i < sql.length; i++) {
    if (escapes && sql[i] === '\\') i++
    else if (sql[i] === quote) {
      if (sql[i + 1] !== quote) return i + 1
      i++
    }
  }
  return sql.length
}

function match(pattern: RegExp, sql: string, at: number): string | null {
  pattern.lastIndex = at
  return pattern.exec(sql)?.[0] ?? null
}

/** The line of a place, asked for places that only grow. */
function lines(sql: string): (at: number) => number {
  let seen = 0
  let line = 1
  return (at) => {
    for (; seen < at; seen++) if (sql[seen] === '\n') line++
    return line
  }
}

/** The line of the file that a fault of a statement lies on. @param position  PostgreSQL's, in characters from 1 */
export function lineAt(statement: Statement, position: number | null): number {
  if (position === null) return statement.line
  const before = Array.from(statement.text).slice(0, position - 1)
  return statement.line + before.filter((char) => char === '\n').length
}

export interface Script {
  readonly statements: readonly Statement[]
  /** Whether its statements stand and fall together. */
  readonly inTransaction: boolean
}

/** A line of its own in the head of a file whose statements cannot run in a transaction, such as `create index concurrently`. */
export const NO_TRANSACTION = '-- mayfly: no transaction'

/** Why a file cannot be run at all, and the line. */
export class ScriptError extends Error {
  readonly line: number
  constructor(message: string, line: number) {
    super(message)
    this.name = 'ScriptError'
    this.line = line
  }
}

/** @throws ScriptError when the file begins or ends transactions itself, or tells psql what to do */
export function parseScript(sql: string): Script {
  const all = statementsIn(sql)
  const meta = all.find(({ text }) => text.startsWith('\\'))
  if (meta) throw new ScriptError(`\`${meta.text.split(/\s/, 1)[0]}\` is a command of psql, and no SQL`, meta.line)
  const data = all.find(({ words, text }) => words[0] === 'COPY' && /\bfrom\s+stdin\b/i.test(text))
  if (data) throw new ScriptError('`copy … from stdin` has its rows behind the statement, where only psql looks: write `insert` instead', data.line)
  // A file that wraps itself asks for what is done anyway.
  const isWrapped = all.length >= 2 && begins(all[0] as Statement) && commits(all.at(-1) as Statement)
  const statements = isWrapped ? all.slice(1, -1) : all
  const own = statements.find((one) => begins(one) || ends(one))
  if (own) throw new ScriptError(`\`${own.words.join(' ').toLowerCase()}\`: a file is one transaction, which it neither begins nor ends itself`, own.line)
  const head = sql.slice(0, all.length > 0 ? sql.indexOf(all[0]?.text ?? '') : sql.length)
  const inTransaction = !head.split('\n').some((line) => line.trim().toLowerCase() === NO_TRANSACTION)
  if (!inTransaction && isWrapped) throw new ScriptError(`it says \`${NO_TRANSACTION}\`, and begins one`, all[0]?.line ?? 1)
  return { statements, inTransaction }
}

const begins = ({ words: [first, second] }: Statement) => first === 'BEGIN' || (first === 'START' && second === 'TRANSACTION')
const commits = ({ words: [first, second] }: Statement) => (first === 'COMMIT' && second !== 'PREPARED') || first === 'END'
const ends = (statement: Statement) => {
  const [first, second, third] = statement.words
  return (
    commits(statement) ||
    first === 'ABORT' ||
    first === 'COMMIT' ||
    (first === 'ROLLBACK' && second !== 'TO' && third !== 'TO') ||
    (first === 'PREPARE' && second === 'TRANSACTION')
  )
}
