import { createHash } from 'node:crypto'
import { promises as fs } from 'node:fs'
import path from 'node:path'
import type { Reply } from '../core/route.ts'

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.webp': 'image/webp',
  '.jpg': 'image/jpeg',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
}

interface StaticFile {
  readonly file: string
  readonly type: string
  readonly hashed: boolean
}

const NOT_BUILT = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Mayfly console</title>
<h1>The console is not built</h1>
<p>Mayfly runs; only the pages of its console are missing. <code>npm run setup</code> builds them, then load this page again.</p>
<p>Until then the command line shows the same: <code>npx mayfly --help</code></p>
</html>
`

/**
 * The files of a folder that a build made, known by a list: a path that is not on it leads nowhere, whatever it holds.
 * A new build is seen by its index.html.
 */
export class StaticFiles {
  readonly #root: string
  #builtAt = ''
  #files: ReadonlyMap<string, StaticFile> = new Map()

  constructor(root: string) {
    this.#root = root
  }

  /**
   * The reply for a decoded path: a file, or the page itself for every path that names no file.
   * @returns null when there is no such file
   */
  async reply(wanted: string, ifNoneMatch: string | undefined): Promise<Reply | null> {
    if (!(await this.#isBuilt())) {
      return isPage(wanted) ? { status: 503, headers: { 'content-type': TYPES['.html'] as string, 'cache-control': 'no-store' }, body: NOT_BUILT } : null
    }
    const found = this.#files.get(isPage(wanted) ? '/index.html' : wanted)
    if (!found) return null
    let body: Buffer
    try {
      body = await fs.readFile(found.file)
    } catch {
      // A build is under way.
      this.#builtAt = ''
      return null
    }
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
    const headers = { etag, 'cache-control': found.hashed ? 'public, max-age=31536000, immutable' : 'no-cache' }
    if (ifNoneMatch?.split(',').some((one) => one.trim() === etag)) return { status: 304, headers }
    return { status: 200, headers: { ...headers, 'content-type': found.type }, body }
  }

  async #isBuilt(): Promise<boolean> {
    const stat = await fs.stat(path.join(this.#root, 'index.html')).catch(() => null)
    if (!stat?.isFile()) return false
    const builtAt = `${stat.mtimeMs} ${stat.ino} ${stat.size}`
    if (builtAt === this.#builtAt) return true
    const files = new Map<string, StaticFile>()
    for (const entry of await fs.readdir(this.#root, { recursive: true, withFileTypes: true })) {
      // No link leads out of the folder: a link is no file.
      if (!entry.isFile()) continue
      const file = path.join(entry.parentPath, entry.name)
      const name = `/${path.relative(this.#root, file).split(path.sep).join('/')}`
      const type = TYPES[path.extname(name)]
      if (type !== undefined) files.set(name, { file, type, hashed: name.startsWith('/assets/') })
    }
    this.#files = files
    this.#builtAt = builtAt
    return true
  }
}

/** The pages live at paths of their own inside the browser; a file's name has a dot. */
const isPage = (wanted: string) => !(wanted.split('/').at(-1) as string).includes('.')
