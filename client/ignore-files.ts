import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import ignore from 'ignore'
import { FolderError } from './mayfly-json.ts'

/**
 * Never sent: what the node makes itself, what is of one's own machine, and settings that hold secrets. What else begins
 * with a dot is, as with the clouds' own tools.
 */
const NEVER = new Set([
  'mayfly.json',
  'node_modules',
  'local.settings.json',
  'appsettings.json',
  '.npmrc',
  '.yarnrc.yml',
  '.yarn',
  '.pnpm-store',
  '.git',
  '.hg',
  '.svn',
  '.gitignore',
  '.gcloudignore',
  '.funcignore',
  '.vscode',
  '.idea',
  '.DS_Store',
])
const FILES = { google: '.gcloudignore', azure: '.funcignore' } as const
type Cloud = keyof typeof FILES
/** What a build on the node is made from, which a .funcignore leaves out as there it was built before. */
const SOURCE = /(?:\.[cm]?tsx?|(?:^|\/)tsconfig[^/]*\.json)$/

/**
 * Which files of an app stay where they are, in the words of its cloud's own tool.
 * @param builds  whether the node builds it
 * @throws FolderError for a file that one of them includes and that is not there
 */
export function leftOutOf(root: string, framework: Cloud, builds: boolean): (name: string, isFolder: boolean) => boolean {
  const rules = ignore({ ignorecase: false }).add(linesOf(root, framework))
  return (name, isFolder) => {
    if (NEVER.has(path.posix.basename(name))) return true
    if (!rules.ignores(isFolder ? `${name}/` : name)) return false
    return !(framework === 'azure' && builds && !isFolder && SOURCE.test(name) && !ignoredFolder(rules, name))
  }
}

const ignoredFolder = (rules: ReturnType<typeof ignore>, name: string) => name.includes('/') && rules.ignores(`${path.posix.dirname(name)}/`)

function linesOf(root: string, framework: Cloud): string[] {
  const file = path.join(root, FILES[framework])
  if (existsSync(file)) return read(file).flatMap((line) => (framework === 'google' ? included(root, file, line) : [line]))
  // As gcloud does where a folder is kept by git.
  const git = path.join(root, '.gitignore')
  return framework === 'google' && existsSync(git) ? read(git) : []
}

const read = (file: string): string[] =>
  readFileSync(file, 'utf8')
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)

/** `#!include:.gitignore`; what is included includes nothing more. */
function included(root: string, file: string, line: string): string[] {
  const name = /^#!include:(.*)$/.exec(line)?.[1]?.trim()
  if (name === undefined) return [line]
  const at = path.resolve(root, name)
  if (!at.startsWith(`${root}${path.sep}`) || !existsSync(at)) throw new FolderError(`${file}: "${line.trim()}" names no file of the folder.`)
  return read(at)
}
