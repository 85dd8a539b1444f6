import { createHash } from 'node:crypto'
import { z } from 'zod'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { isPlainText } from '../core/plain-text.ts'

const MAX_PATH_BYTES = 1024
const SITE_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
/** Below this the node itself answers. */
export const RESERVED = '_mayfly'

/** Whether the text may be a label of a host name. */
export const isSiteName = (name: string): boolean => SITE_NAME.test(name)

const SHA256 = /^[0-9a-f]{64}$/
export const isSha256 = (text: string): boolean => SHA256.test(text)

/** A path is only ever looked up among its like, never given to a file system; what could not be asked for is refused all the same. */
function faultOf(path: string): string | null {
  if (path === '') return 'must not be empty'
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `must be at most ${MAX_PATH_BYTES} bytes`
  if (!isPlainText(path)) return 'must not hold control characters'
  if (path.includes('\\')) return 'must not hold backslashes; folders are parted by /'
  const parts = path.split('/')
  if (parts.some((part) => part === '' || part === '.' || part === '..')) return 'must be relative, without empty parts, `.` and `..`'
  return parts[0] === RESERVED ? `must not begin with ${RESERVED}/, which the node itself answers` : null
}

const fileSchema = z.strictObject(
  {
    path: z
      .string({ error: 'must be a text' })
      .transform((path) => path.normalize('NFC'))
      .superRefine((path, context) => {
        const fault = faultOf(path)
        if (fault !== null) context.addIssue({ code: 'custom', message: `${JSON.stringify(path.slice(0, 100))} ${fault}` })
      }),
    sha256: z.string({ error: 'must be a text' }).regex(SHA256, { error: 'must be 64 lower-case hexadecimal digits: the SHA-256 of an uploaded file' }),
  },
  { error: 'must be an object with `path` and `sha256`' },
)

/** All files of a site. */
export const siteFilesSchema = z
  .array(fileSchema, { error: 'must be a list of files' })
  .min(1, { error: 'must hold at least one file' })
  .max(LIMITS.siteFiles.value, { error: `must be at most ${LIMITS.siteFiles.value} files` })
  .superRefine((files, context) => {
    const seen = new Set<string>()
    for (const { path } of files) {
      if (seen.has(path)) context.addIssue({ code: 'custom', message: `${JSON.stringify(path.slice(0, 100))} stands twice` })
      seen.add(path)
    }
  })

export interface NewSiteFile {
  readonly path: string
  readonly sha256: string
}

/** @throws MayflyError bad_request that names each wrong field */
export function parseSiteFiles(body: unknown): readonly NewSiteFile[] {
  const parsed = z.strictObject({ files: siteFilesSchema }, { error: 'the body must be a JSON object with `files`' }).safeParse(body)
  if (parsed.success) return parsed.data.files
  const problems = parsed.error.issues.map((issue) => (issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ${issue.message}` : issue.message))
  throw new MayflyError('bad_request', problems.slice(0, 10).join('; '))
}

/** One name for one content, in whatever order its files were told. */
export function artefactOf(files: readonly NewSiteFile[]): string {
  const hash = createHash('sha256')
  for (const { path, sha256 } of files.toSorted((a, b) => (a.path < b.path ? -1 : 1))) hash.update(`${sha256} ${path}\n`)
  return hash.digest('hex')
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  htm: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  mjs: 'text/javascript; charset=utf-8',
  json: 'application/json',
  map: 'application/json',
  webmanifest: 'application/manifest+json',
  txt: 'text/plain; charset=utf-8',
  md: 'text/markdown; charset=utf-8',
  csv: 'text/csv; charset=utf-8',
  xml: 'application/xml',
  svg: 'image/svg+xml',
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  avif: 'image/avif',
  ico: 'image/x-icon',
  woff: 'font/woff',
  woff2: 'font/woff2',
  ttf: 'font/ttf',
  otf: 'font/otf',
  mp3: 'audio/mpeg',
  ogg: 'audio/ogg',
  wav: 'audio/wav',
  mp4: 'video/mp4',
  webm: 'video/webm',
  pdf: 'application/pdf',
  wasm: 'application/wasm',
  zip: 'application/zip',
}

/** By the ending of the name; what is unknown is bytes that a browser saves. */
export function typeOf(path: string): string {
  const ending = /\.([a-z0-9]+)$/i.exec(path)?.[1]?.toLowerCase() ?? ''
  return Object.hasOwn(TYPES, ending) ? (TYPES[ending] as string) : 'application/octet-stream'
}
