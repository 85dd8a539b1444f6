const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{17000}-\u{18aff}\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]|^\p{Emoji_Presentation}|\ufe0f/u
const PLAIN = /^[ -~]*$/
const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' })
const NUMBERS: ReadonlySet<number> = new Set([20, 21, 23, 26, 700, 701, 790, 1700])

export type Cell = string | null
export interface Column {
  readonly name: string
  /** The OID of its type. */
  readonly type: number
}

/** How many columns of a terminal a text takes: two for what East Asia writes and for emoji, none for what is put on top. */
export function widthOf(text: string): number {
  if (PLAIN.test(text)) return text.length
  let width = 0
  for (const { segment } of graphemes.segment(text)) width += WIDE.test(segment) ? 2 : /^\p{M}|^\u200b/u.test(segment) ? 0 : 1
  return width
}

/** A cell in one line, without anything that would move the cursor. */
export const shown = (cell: Cell): string =>
  cell === null
    ? 'NULL'
    : cell.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (char) => {
        const known = { '\n': '\\n', '\t': '\\t', '\r': '\\r' }[char]
        return known ?? `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`
      })

/** Columns that line up, for rows that come in parts: the first part says how wide they are, and wider cells widen what follows. */
export class AlignedRows {
  readonly #columns: readonly Column[]
  readonly #widths: number[]
  #hasHead = false

  constructor(columns: readonly Column[]) {
    this.#columns = columns
    this.#widths = columns.map(({ name }) => widthOf(shown(name)))
  }

  part(rows: readonly (readonly Cell[])[]): string {
    const cells = rows.map((row) => row.map(shown))
    for (const row of cells)
      row.forEach((cell, at) => {
        this.#widths[at] = Math.max(this.#widths[at] ?? 0, widthOf(cell))
      })
    const lines = cells.map((row) => this.#line(row, (at) => NUMBERS.has(this.#columns[at]?.type ?? 0)))
    if (!this.#hasHead) {
      this.#hasHead = true
      lines.unshift(
        this.#line(
          this.#columns.map(({ name }) => shown(name)),
          () => false,
        ),
        this.#widths.map((width) => '-'.repeat(width + 2)).join('+'),
      )
    }
    return lines.join('\n')
  }

  #line(cells: readonly string[], toTheRight: (at: number) => boolean): string {
    return cells
      .map((cell, at) => {
        const blank = ' '.repeat(Math.max(0, (this.#widths[at] ?? 0) - widthOf(cell)))
        return ` ${toTheRight(at) ? blank + cell : cell + blank}`
      })
      .join(' |')
      .trimEnd()
  }
}

/** A row below the other: each cell on a line of its own. */
export function expanded(columns: readonly Column[], row: readonly Cell[], number: number): string {
  const width = Math.max(...columns.map(({ name }) => widthOf(shown(name))))
  const lines = columns.map(({ name }, at) => `${shown(name)}${' '.repeat(width - widthOf(shown(name)))} | ${shown(row[at] ?? null)}`)
  return [`-[ RECORD ${number} ]${'-'.repeat(Math.max(0, width - 12))}`, ...lines].join('\n')
}
