import { open } from 'node:fs/promises'
import { createInterface, type Interface } from 'node:readline'
import { Readable } from 'node:stream'
import pg from 'pg'
import { UnreachableError } from '../../client/client.ts'
import { complain, dim, EXIT, harmless, print, red, UsageError, yellow } from '../output.ts'
import { type Common, locate } from '../place.ts'
import { describeRelation, listRelations } from './describe.ts'
import { AlignedRows, type Cell, type Column, expanded } from './rows.ts'
import { DatabaseSession } from './session.ts'
import { readStatements, type ScriptPiece } from './script.ts'
import { isBlank, splitStatements } from './statements.ts'

interface Options extends Common {
  readonly command?: readonly string[]
  readonly file?: string
}

/** So many rows say how wide the columns are; of a large result no more is held. */
const ROWS_AT_ONCE = 500
/** Of a JSON document, which is made when all is known. */
const MOST_JSON_ROWS = 100_000
const HELP = `  \\d            relations             \\d NAME       one of them: columns, indexes, policies
  \\dt           tables                \\x            each column on a line of its own, and back
  \\q            leave                 \\?            this
  A statement ends with a semicolon; Ctrl-C cancels what runs, or clears what was typed.`

export async function psql(options: Options): Promise<void> {
  if (options.command !== undefined && options.file !== undefined) throw new UsageError('-c and -f do not go together')
  const { url, key, project } = locate(options)
  const script =
    options.command !== undefined
      ? Readable.from(options.command.map((one) => `${one}\n;\n`))
      : options.file !== undefined && options.file !== '-'
        ? await scriptOf(options.file)
        : process.stdin.isTTY && options.file === undefined
          ? null
          : process.stdin.setEncoding('utf8')
  if (script === null && options.json) throw new UsageError('--json goes with -c, -f or a script on stdin')
  await using session = await DatabaseSession.open({ url, key, project }, ({ severity, message }) =>
    complain(yellow(`${harmless(severity ?? 'NOTICE')}: ${harmless(message ?? '')}`)),
  )
  const runner = new Runner(session, options.json === true)
  session.onNotification((channel, payload) => complain(dim(`notification on ${harmless(channel)}: ${harmless(payload)}`)))
  if (script === null) return await new Prompt(session, runner, project).run()
  const onInterrupt = () => void session.cancel().catch(() => process.exit(EXIT.failed))
  process.on('SIGINT', onInterrupt)
  const name = options.command !== undefined ? null : (options.file ?? 'stdin')
  try {
    for await (const piece of readStatements(script)) if (!(await runner.take(piece, name))) break
  } finally {
    process.removeListener('SIGINT', onInterrupt)
    runner.end()
  }
}

/** Opened before the session is; read as its statements run. */
async function scriptOf(file: string): Promise<AsyncIterable<string>> {
  const refused = (error: unknown) => new UsageError(`${file} cannot be read: ${(error as Error).message}`)
  const handle = await open(file).catch((error: unknown) => {
    throw refused(error)
  })
  const chunks = handle.createReadStream({ encoding: 'utf8', highWaterMark: 262_144 })
  return (async function* () {
    try {
      yield* chunks
    } catch (error) {
      throw refused(error)
    }
  })()
}

interface JsonResult {
  readonly tag: string
  readonly rows: number | null
  readonly columns?: readonly string[]
  readonly values?: readonly (readonly Cell[])[]
}

/** Runs one piece after the other and shows what comes of it. */
class Runner {
  readonly #session: DatabaseSession
  readonly #json: boolean
  readonly #results: JsonResult[] = []
  #isExpanded = false

  constructor(session: DatabaseSession, json: boolean) {
    this.#session = session
    this.#json = json
  }

  /** @returns false when nothing more is to run @throws pg.DatabaseError never: it is shown, and the exit code says it */
  async take(piece: ScriptPiece, file: string | null): Promise<boolean> {
    try {
      return piece.kind === 'command' ? await this.#command(piece.text) : await this.#statement(piece)
    } catch (error) {
      if (error instanceof UnreachableError || !(error instanceof Error)) throw error
      showError(error, piece, file)
      process.exitCode = EXIT.failed
      return false
    }
  }

  end(): void {
    if (this.#json) print(JSON.stringify({ results: this.#results }))
  }

  async #command(text: string): Promise<boolean> {
    const [, name = '', rest = ''] = /^\\(\S*)\s*([\s\S]*?);?$/.exec(text) ?? []
    if (name === 'q') return false
    if (name === '?') print(HELP)
    else if (name === 'x') {
      this.#isExpanded = !this.#isExpanded
      complain(dim(`Expanded display is ${this.#isExpanded ? 'on' : 'off'}.`))
    } else if (name === 'dt') print(harmless(await listRelations(this.#session, 'tables')))
    else if (name === 'd' && rest === '') print(harmless(await listRelations(this.#session, 'all')))
    else if (name === 'd') {
      const found = await describeRelation(this.#session, rest)
      if (found === null) throw new Error(`there is no relation ${rest}`)
      print(harmless(found))
    } else throw new Error(`\\${name} is not known; \\? shows what is`)
    return true
  }

  async #statement({ text, data }: ScriptPiece): Promise<boolean> {
    let columns: readonly Column[] = []
    let aligned = new AlignedRows([])
    let held: (readonly Cell[])[] = []
    let count = 0
    let hasShown = false
    const flush = () => {
      if (this.#json || columns.length === 0 || (held.length === 0 && hasShown)) return
      if (!this.#isExpanded) print(aligned.part(held))
      else held.forEach((row, at) => void print(expanded(columns, row, count - held.length + at + 1)))
      hasShown = true
      held = []
    }
    const done = await this.#session.run(text, data, {
      columns: (found) => {
        columns = found
        aligned = new AlignedRows(found)
      },
      row: (row) => {
        held.push(row)
        count++
        if (this.#json && count > MOST_JSON_ROWS) {
          if (count === MOST_JSON_ROWS + 1) void this.#session.cancel()
          held = []
        } else if (!this.#json && held.length >= ROWS_AT_ONCE) flush()
      },
      copied: (chunk) => void process.stdout.write(chunk),
      full: () => (process.stdout.writableNeedDrain ? new Promise((resolve) => process.stdout.once('drain', () => resolve())) : null),
    })
    if (this.#json) {
      const more = done.hasColumns ? { columns: columns.map(({ name }) => name), values: held } : {}
      this.#results.push({ tag: done.tag, rows: done.rows, ...more })
      return true
    }
    flush()
    if (done.hasColumns) print(`(${count} row${count === 1 ? '' : 's'})`)
    else if (done.tag !== '' && !/^copy\b.*\bto\s+stdout\b/is.test(text)) print(done.rows === null ? done.tag : `${done.tag} ${done.rows}`)
    return true
  }
}

/** The line is that of the script; PostgreSQL counts from the beginning of the statement. */
function showError(error: Error, { text, line }: ScriptPiece, file: string | null): void {
  if (!(error instanceof pg.DatabaseError)) {
    complain(red(harmless(error.message)))
    return
  }
  const position = Number(error.position)
  const before = position > 0 ? [...text].slice(0, position - 1).join('') : ''
  const lines = before.split('\n')
  const at = line + lines.length - 1
  const own = text.split('\n')[lines.length - 1] ?? ''
  complain(red(`${file === null ? '' : `${harmless(file)}:`}line ${at}: ${error.severity ?? 'ERROR'} ${error.code}: ${harmless(error.message)}`))
  if (position > 0) complain(`${harmless(own)}\n${' '.repeat((lines.at(-1) ?? '').length)}^`)
  for (const [what, said] of [['DETAIL', error.detail], ['HINT', error.hint], ['CONTEXT', error.where]]) if (said) complain(`${what}: ${harmless(said)}`) // biome-ignore format: three of a kind
}

/** The interactive one. */
class Prompt {
  readonly #session: DatabaseSession
  readonly #runner: Runner
  readonly #project: string
  #typed = ''
  #isRunning = false

  constructor(session: DatabaseSession, runner: Runner, project: string) {
    this.#session = session
    this.#runner = runner
    this.#project = project
  }

  async run(): Promise<void> {
    complain(dim(`The database of ${this.#project}, as its owner. \\? shows what can be typed beside SQL.`))
    const lines = createInterface({ input: process.stdin, output: process.stdout, historySize: 1000 })
    lines.on('SIGINT', () => {
      if (this.#isRunning) return void this.#session.cancel().catch((error: Error) => complain(red(`not cancelled: ${harmless(error.message)}`)))
      this.#typed = ''
      process.stdout.write('\n')
      // What stands on the line itself is readline's: to its end, and away with all of it.
      lines.write(null, { ctrl: true, name: 'e' })
      lines.write(null, { ctrl: true, name: 'u' })
      this.#ask(lines)
    })
    // An end that came before the terminal was ours arrives as a NUL; it means what Ctrl-D means.
    process.stdin.on('keypress', (_, key: { readonly sequence?: string }) => {
      if (key.sequence === '\0') lines.close()
    })
    this.#ask(lines)
    for await (const line of lines) {
      this.#typed += `${line}\n`
      const { pieces, rest } = splitStatements(this.#typed, false)
      this.#typed = isBlank(rest) ? '' : rest
      this.#isRunning = true
      let goesOn = true
      for (const piece of pieces) {
        goesOn = await this.#runner.take({ ...piece, data: null }, null)
        if (piece.kind === 'command' && /^\\q\b/.test(piece.text)) return lines.close()
        if (!goesOn) break
      }
      this.#isRunning = false
      // What failed was told; the next statement is another matter.
      process.exitCode = EXIT.ok
      this.#ask(lines)
    }
    print('')
  }

  #ask(lines: Interface): void {
    const state = { T: '*', E: '!' }[String(this.#session.state)] ?? ''
    lines.setPrompt(`${this.#project}${this.#typed === '' ? '=' : '-'}${state}> `)
    lines.prompt()
  }
}
