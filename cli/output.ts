import { stripVTControlCharacters } from 'node:util'

const { env, stdout, stderr } = process
const paint = (code: number) => (text: string) => `\u001b[${code}m${text}\u001b[0m`
/** Each stream by itself: one may be a terminal and the other a file. */
const shows = (stream: NodeJS.WriteStream) => stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb'
const write = (stream: NodeJS.WriteStream, text: string) => void stream.write(`${shows(stream) ? text : stripVTControlCharacters(text)}\n`)

export const bold = paint(1)
export const dim = paint(2)
export const red = paint(31)
export const green = paint(32)
export const yellow = paint(33)

export const print = (text: string): void => write(stdout, text)
export const complain = (text: string): void => write(stderr, text)

export const ms = (value: number): string => (value < 10 ? `${value.toFixed(2)} ms` : `${Math.round(value)} ms`)
export const size = (bytes: number): string => (bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`)

/** What is being done, in one line of the terminal that the next replaces; nothing in a pipe. */
export const progress = (text: string): void => {
  if (stderr.isTTY === true && env.TERM !== 'dumb') stderr.write(`\r\u001b[K${text === '' ? '' : dim(text)}`)
}

const widthOf = (cell: string) => stripVTControlCharacters(cell).length

/** Columns as wide as their widest cell; nothing at line ends. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => widthOf(row[column] ?? ''))))
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - widthOf(cell)))
      .join('  ')
      .trimEnd()
  return [dim(line(head)), ...rows.map(line)].join('\n')
}

/** Control characters of user code must not move the cursor of whoever reads the log. */
export const harmless = (text: string): string =>
  text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (char) => (char === '\r' ? '\n' : `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`))

/** Exit codes, the same for every command. */
export const EXIT = { ok: 0, failed: 1, usage: 2, noNode: 3, notAllowed: 4, notFound: 5, functionError: 6 } as const

/** Wrong words on the command line: nothing was tried. */
export class UsageError extends Error {}
