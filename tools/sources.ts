import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

export interface Source {
  /** Relative to the root, with `/`. */
  readonly path: string
  readonly text: string
}
export interface Finding {
  readonly check: string
  readonly path: string
  readonly what: string
}
export type Check = (sources: readonly Source[]) => Finding[]

export const ROOT = path.resolve(import.meta.dirname, '..')

/** Every file of ours that git tracks or would track, with its text. */
export function readSources(endings: RegExp = /\.(ts|tsx|mjs|js|sql|md|json)$/): Source[] {
  const list = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 26 })
  return list
    .split('\n')
    .filter((file) => endings.test(file) && !file.endsWith('package-lock.json') && existsSync(path.join(ROOT, file)))
    .map((file) => ({ path: file, text: readFileSync(path.join(ROOT, file), 'utf8') }))
}

/** Comments and texts blanked out, so that only code is judged; lines stay where they are. */
export function codeOf(text: string): string {
  const blank = (part: string) => part.replace(/[^\n]/g, ' ')
  return text.replace(/\/\*[\s\S]*?\*\/|(?<![:'"`\\])\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, (part) =>
    part.startsWith("'") || part.startsWith('"') ? part[0] + blank(part.slice(1, -1)) + part[0] : blank(part),
  )
}

/** What a file imports, as paths relative to the root; packages are left out. */
export function importsOf(source: Source): string[] {
  const found: string[] = []
  for (const match of source.text.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*)['"](\.{1,2}\/[^'"]+)['"]/g)) {
    found.push(path.posix.normalize(path.posix.join(path.posix.dirname(source.path), match[1] as string)))
  }
  return found
}
