import { existsSync } from 'node:fs'
import { SourceMap, type SourceMapPayload } from 'node:module'
import path from 'node:path'

/** Where the bundle lies for the code that runs: in a sandbox, or without one. */
const PLACE = /(?:file:\/\/)?(?:\/[^\s():"\\]*)?\/(?:task|code)\/index\.mjs:(\d+):(\d+)/g
/** The same of what is not bundled: its files lie there as they are here. */
const FILE = /(?:file:\/\/)?\/var\/task\/([^\s():"\\]+):(\d+):(\d+)/g
const INLINE = '//# sourceMappingURL=data:application/json;base64,'
/** Frames that are none of the user's. */
const OURS = /^\s*at .*(?:node:internal\/|\/var\/runtime\/|\/runtimes\/(?:node|supervisor)\/)/

/** Whether a text has places that a source map leads from. */
export const hasPlaces = (text: string): boolean => text.search(PLACE) !== -1

/** Leads from the bundle that a function runs back to the files that it was made of. */
export class Stacks {
  readonly #folders = new Map<string, string>()
  readonly #bundles = new Map<string, { readonly root: string; readonly code: Uint8Array | null; map: SourceMap | null }>()

  /** What runs under this name from now on. */
  set(name: string, root: string, code: Uint8Array): void {
    this.#bundles.set(name, { root, code, map: null })
  }

  /** The same of what is sent file by file. */
  setFolder(name: string, root: string): void {
    this.#folders.set(name, root)
  }

  /** The same, where its source map is at hand and not where it was bundled: its files are told from there. */
  setMap(name: string, map: SourceMapPayload): void {
    this.#bundles.set(name, { root: '', code: null, map: new SourceMap(map) })
  }

  /** The function that a text speaks of; the one that there is, where it names none. */
  named(text: string): string {
    const names = [...this.#bundles.keys()]
    return names.find((name) => text.includes(JSON.stringify(name)) || text.includes(` ${name}:`)) ?? names[0] ?? ''
  }

  /** A text with places of the bundle, as places of the user's files. */
  mapped(name: string, text: string): string {
    const folder = this.#folders.get(name)
    if (folder !== undefined)
      return text.replace(FILE, (place, file: string, line: string, column: string) => {
        const own = path.join(folder, file)
        // What the node installed or built is not here.
        return existsSync(own) ? `${path.relative('', own)}:${line}:${column}` : place
      })
    return text.replace(PLACE, (place, line: string, column: string) => {
      const bundle = this.#bundles.get(name)
      if (!bundle) return place
      // Few bundles are ever asked.
      bundle.map ??= bundle.code && mapOf(bundle.code)
      const found = bundle.map?.findEntry(Number(line) - 1, Number(column) - 1)
      if (!found || !('originalSource' in found)) return place
      const file = path.relative('', path.resolve(bundle.root, found.originalSource))
      return `${file}:${found.originalLine + 1}:${found.originalColumn + 1}`
    })
  }

  /** The stack of an error, in the user's files alone. */
  stack(name: string, lines: readonly string[]): string {
    return this.lines(name, lines).join('\n')
  }

  lines(name: string, lines: readonly string[]): string[] {
    return lines.filter((line) => !OURS.test(line)).map((line) => this.mapped(name, line))
  }
}

function mapOf(code: Uint8Array): SourceMap | null {
  const text = Buffer.from(code.buffer, code.byteOffset, code.byteLength).toString('latin1')
  const at = text.lastIndexOf(INLINE)
  if (at === -1) return null
  try {
    return new SourceMap(JSON.parse(Buffer.from(text.slice(at + INLINE.length).trim(), 'base64').toString('utf8')) as SourceMapPayload)
  } catch {
    return null
  }
}
