import { it } from 'node:test'
import type { Runtime } from './runtime.ts'

type Cell = 'passed' | 'failed' | { readonly skipped: string }
type Check = (name: string, ...rest: [() => Promise<void>] | [string | null, () => Promise<void>]) => void

/** Where a runtime's cases are told; `own` are those that only it has. */
export interface Column {
  group(group: string, skip?: string | null): Check
  own(group: string): Check
}

/** What each runtime made of each case of the suite. */
export class Table {
  readonly #run: typeof it
  readonly #columns = new Map<string, Map<string, Cell>>()
  readonly #lacks = new Map<string, Runtime['lacks']>()
  /** Cases that only some runtimes have. */
  readonly #own = new Set<string>()

  /** @param run  what a case is handed to */
  constructor(run: typeof it = it) {
    this.#run = run
  }

  column(name: string, runtime: Pick<Runtime, 'absent' | 'lacks'>): Column {
    const cells = new Map<string, Cell>()
    this.#columns.set(name, cells)
    this.#lacks.set(name, runtime.lacks)
    const check = (group: string, skipped: string | null, own: boolean): Check => {
      return (what, ...rest) => {
        const work = rest.at(-1) as () => Promise<void>
        const row = `${group}: ${what}`
        if (own) this.#own.add(row)
        const why = runtime.absent ?? skipped ?? runtime.lacks[row] ?? (typeof rest[0] === 'string' ? rest[0] : null)
        cells.set(row, why === null ? 'failed' : { skipped: why })
        void this.#run(what, { skip: why ?? false }, async () => {
          await work()
          cells.set(row, 'passed')
        })
      }
    }
    return { group: (group, skip = null) => check(group, skip, false), own: (group) => check(group, null, true) }
  }

  /** Rows that a runtime should have and has not, and reasons for rows that nobody has. */
  get faults(): string[] {
    const faults: string[] = []
    const rows = this.#rows()
    for (const [name, cells] of this.#columns) {
      for (const row of rows) if (!cells.has(row) && !this.#own.has(row)) faults.push(`${name} has no case "${row}"`)
      for (const row of Object.keys(this.#lacks.get(name) ?? {})) if (!rows.includes(row)) faults.push(`${name} lacks "${row}", which is no case`)
    }
    return faults
  }

  text(): string {
    const names = [...this.#columns.keys()]
    const reasons: string[] = []
    const told = (cell: Cell | undefined) => {
      if (cell === undefined) return '-'
      if (typeof cell === 'string') return cell === 'passed' ? 'yes' : 'NO'
      if (!reasons.includes(cell.skipped)) reasons.push(cell.skipped)
      return `(${reasons.indexOf(cell.skipped) + 1})`
    }
    const lines = this.#rows().map((row) => `| ${row} | ${names.map((name) => told(this.#columns.get(name)?.get(row))).join(' | ')} |`)
    return [
      `| case | ${names.join(' | ')} |`,
      `| --- |${' --- |'.repeat(names.length)}`,
      ...lines,
      '',
      ...reasons.map((reason, i) => `(${i + 1}) ${reason}`),
    ].join('\n')
  }

  #rows(): string[] {
    const rows: string[] = []
    for (const cells of this.#columns.values()) for (const row of cells.keys()) if (!rows.includes(row)) rows.push(row)
    return rows
  }
}
