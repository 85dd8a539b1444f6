import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { ROOT, type Ready } from './harness.ts'

/** A fenced block of a page of documentation. */
export interface Block {
  readonly kind: string
  readonly text: string
  readonly line: number
}

/** Those of these kinds, in their order; a block ends with its section where another begins. */
export function blocksOf(page: string, kinds: readonly string[]): (Block & { readonly section: string })[] {
  const text = readFileSync(path.join(ROOT, 'docs', page), 'utf8')
  const sections = [...text.matchAll(/^## (.*)$/gm)]
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].flatMap(({ index, 1: kind = '', 2: block = '' }) => {
    if (!kinds.includes(kind)) return []
    const section = sections.findLast((one) => one.index < index)?.[1] ?? ''
    return [{ kind, text: block, line: text.slice(0, index).split('\n').length, section }]
  })
}

/** Without what is said of the commands, which each language says by itself. */
export const commandsOf = ({ kind, text }: Block): string => (kind === 'sh' ? text.replaceAll(/ +#.*/g, '') : text)

/** What stands between backticks outside of blocks, and is the same in every language: without what holds a place for a word. */
export const namesOf = (page: string): Set<string> =>
  new Set(
    [
      ...readFileSync(path.join(ROOT, 'docs', page), 'utf8')
        .replaceAll(/^```\w*\n.*?^```$/gms, '')
        .matchAll(/`([^`\n]+)`/g),
    ].flatMap(([, name = '']) => (name.includes('<') ? [] : [name])),
  )

const HANDLER = 'export const handler = async (event) => { console.log(JSON.stringify(event)); return null }\n'

/** Does what pages say: each block of JSON that says what a function or a project is is deployed, scripts and modules run beside it. */
export class Reader {
  readonly #ready: Ready
  readonly #folder: string

  constructor(ready: Ready, folder: string) {
    this.#ready = ready
    this.#folder = folder
    // As where the packages that a module imports are installed.
    const modules = path.join(folder, 'node_modules')
    if (!existsSync(modules)) symlinkSync(path.join(ROOT, 'node_modules'), modules)
  }

  /** Block after block. @returns what each said. @throws Error what one that failed said, with its place */
  read(page: string): { readonly block: Block; readonly said: string }[] {
    let beside = { section: '', folder: this.#folder }
    return blocksOf(page, ['json', 'sh', 'js']).map((block) => {
      const at = `${page.replaceAll('.', '-')}-${block.line}`
      if (beside.section !== block.section) beside = { section: block.section, folder: this.#folder }
      try {
        if (block.kind === 'js') return { block, said: this.#module(at, block.text) }
        if (block.kind === 'sh') return { block, said: this.#script(block.text, beside.folder) }
        const folder = this.#made(at, JSON.parse(block.text) as Record<string, unknown>)
        if (folder === null) return { block, said: '' }
        beside = { section: block.section, folder }
        return { block, said: this.#script('npx mayfly deploy .', folder) }
      } catch (error) {
        const { message, stdout = '', stderr = '' } = error as Error & { stdout?: string; stderr?: string }
        throw new Error(`docs/${page}:${block.line}: ${message}\n${stdout}${stderr}`, { cause: error })
      }
    })
  }

  /** Null for what is no file of ours, but an event. */
  #made(at: string, said: Record<string, unknown>): string | null {
    const { functions = [], triggers, name } = said as { functions?: readonly string[]; triggers?: unknown; name?: string }
    if (triggers === undefined && functions.length === 0) return null
    // Without a name of its own a function has that of its folder.
    const folder = path.join(this.#folder, at, name ?? at)
    for (const each of triggers === undefined ? functions : ['.']) {
      mkdirSync(path.join(folder, each), { recursive: true })
      writeFileSync(path.join(folder, each, 'index.mjs'), HANDLER)
    }
    writeFileSync(path.join(folder, 'mayfly.json'), JSON.stringify(said))
    return folder
  }

  #module(at: string, text: string): string {
    const file = path.join(this.#folder, `${at}.mjs`)
    writeFileSync(file, text)
    return execFileSync(process.execPath, [file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: this.#environment(), timeout: 60_000 })
  }

  #script(text: string, cwd: string): string {
    // As npx would find it in a folder where it is installed; and the AWS CLI with the node as its endpoint.
    const npx = `npx() { shift; ${JSON.stringify(process.execPath)} ${JSON.stringify(path.join(ROOT, 'bin', 'mayfly.js'))} "$@"; }`
    const aws = 'aws() { case " $* " in *" --endpoint-url "*) /usr/bin/aws "$@";; *) /usr/bin/aws --endpoint-url "$URL" "$@";; esac; }'
    const curl = 'curl() { command curl --silent --show-error --fail "$@"; }'
    return execFileSync('bash', ['-ec', [npx, aws, curl, text].join('\n')], {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: this.#environment(),
      timeout: 120_000,
    })
  }

  #environment(): NodeJS.ProcessEnv {
    const { url, region, accessKey, project } = this.#ready
    return {
      ...process.env,
      URL: url,
      MAYFLY_URL: url,
      MAYFLY_KEY: project.secretKey,
      MAYFLY_PROJECT: project.ref,
      AWS_ACCESS_KEY_ID: accessKey.id,
      AWS_SECRET_ACCESS_KEY: accessKey.secret,
      AWS_DEFAULT_REGION: region,
    }
  }
}
