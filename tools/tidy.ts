import { createHash } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Check, codeOf, type Finding, importsOf, ROOT, readSources, type Source } from './sources.ts'

/** The floors of the house: imports go down only. Rooms of one floor do not know each other. */
const LEVELS: Readonly<Record<string, number>> = {
  lib: 0,
  backends: 1,
  core: 2,
  functions: 3,
  sandbox: 3,
  data: 3,
  door: 3,
  migrations: 3,
  auth: 3,
  storage: 3,
  queues: 3,
  realtime: 3,
  sites: 3,
  usage: 3,
  observe: 3,
  invoke: 4,
  triggers: 4,
  deployments: 4,
  gateway: 5,
}
const TOP = 6
/** Steps to the side that may stay, with their reason. */
const SIDE_STEPS: readonly { readonly from: string; readonly to: string; readonly why: string }[] = [
  { from: 'triggers', to: 'invoke', why: 'a trigger ends in an entry of the queue' },
]

const roomOf = (file: string): string | null => {
  const parts = file.split('/')
  if (parts[0] !== 'src') return null
  return parts.length === 2 ? 'top' : (parts[1] as string)
}
const levelOf = (room: string) => (room === 'top' ? TOP : (LEVELS[room] ?? -1))
const isTest = (file: string) => /(\.test|-fixture|\/conformance)\.ts$/.test(file)

/** Imports up or to the side, rooms nobody knows, outsiders that reach into src, cycles. */
export const layers: Check = (sources) => {
  const findings: Finding[] = []
  const report = (at: string, what: string) => findings.push({ check: 'layers', path: at, what })
  const used = new Set<string>()
  const graph = new Map<string, string[]>()
  for (const source of sources) {
    if (!/\.(ts|tsx|mjs|js)$/.test(source.path)) continue
    const from = roomOf(source.path)
    const imports = importsOf(source)
    graph.set(source.path, imports)
    for (const target of imports) {
      const to = roomOf(target)
      if (from === null) {
        const own = source.path.split('/')[0] ?? ''
        if (to !== null && !['tools', 'bench'].includes(own)) report(source.path, `${own}/ must not import ${target}: it knows Mayfly only from outside`)
        continue
      }
      if (to === null) {
        if (!(from === 'top' && target.startsWith('client/')) && !isTest(source.path)) report(source.path, `src/ must not import ${target}`)
        continue
      }
      if (levelOf(from) < 0) report(source.path, `the room ${from} has no level`)
      if (from === to) continue
      if (levelOf(to) > levelOf(from)) report(source.path, `imports up: ${target}`)
      else if (levelOf(to) === levelOf(from)) {
        const step = SIDE_STEPS.find((row) => row.from === from && row.to === to)
        if (step) used.add(`${from}/${to}`)
        else report(source.path, `imports to the side: ${target}`)
      }
    }
  }
  const rooms = new Set(sources.map((source) => roomOf(source.path)))
  for (const row of SIDE_STEPS)
    if (rooms.has(row.from) && !used.has(`${row.from}/${row.to}`)) report('tools/tidy.ts', `the side step ${row.from} → ${row.to} is used by nobody`)
  for (const cycle of cyclesOf(graph)) report(cycle[0] as string, `import cycle: ${cycle.join(' → ')}`)
  return findings
}

function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const done = new Set<string>()
  const cycles: string[][] = []
  const walk = (at: string, trail: readonly string[]) => {
    const seen = trail.indexOf(at)
    if (seen !== -1) {
      cycles.push([...trail.slice(seen), at])
      return
    }
    if (done.has(at)) return
    for (const next of graph.get(at) ?? []) walk(next, [...trail, at])
    done.add(at)
  }
  for (const file of graph.keys()) walk(file, [])
  return cycles
}

/** Outsiders come into a room by index.ts or http.ts (its settings by config.ts, for config.ts); insiders do not use the door. */
export const doors: Check = (sources) => {
  const findings: Finding[] = []
  for (const source of sources) {
    const from = roomOf(source.path)
    if (from === null || isTest(source.path)) continue
    for (const target of importsOf(source)) {
      const to = roomOf(target)
      if (to === null || to === 'top') continue
      const file = target.split('/').slice(2).join('/')
      if (from === to && file === 'index.ts') findings.push({ check: 'doors', path: source.path, what: 'a room does not import its own index.ts' })
      if (from !== to && levelOf(to) >= 3 && !['index.ts', 'http.ts'].includes(file) && !(source.path === 'src/config.ts' && file === 'config.ts')) {
        findings.push({ check: 'doors', path: source.path, what: `comes into ${to} past its door: ${target}` })
      }
    }
  }
  return findings
}

/** The outside world is touched by main.ts, bin/ and tools/ alone; time and chance come from lib/. */
export const world: Check = (sources) => {
  const findings: Finding[] = []
  for (const source of sources) {
    if (!/^(src|client)\//.test(source.path) || !source.path.endsWith('.ts') || isTest(source.path) || source.path === 'src/main.ts') continue
    const code = codeOf(source.text)
    const forbidden = source.path.startsWith('src/lib/') ? ['process.env'] : ['process.env', 'Date.now', 'Math.random']
    for (const word of forbidden) if (code.includes(word)) findings.push({ check: 'world', path: source.path, what: `uses ${word}` })
  }
  return findings
}

const NEVER = ['tenant', 'workspace', 'lambda', 'executor', 'poison']
const UNFINISHED = new RegExp(`\\b(${['TO', 'FIX', 'XX', 'HA'].map((head, i) => head + (['DO', 'ME', 'X', 'CK'][i] as string)).join('|')})\\b`)

/** Words that are never right here, in identifiers; marks of unfinished work anywhere. */
export const words: Check = (sources) => {
  const findings: Finding[] = []
  for (const source of sources) {
    if (!/\.(ts|tsx|mjs|js|sql)$/.test(source.path)) continue
    const mark = UNFINISHED.exec(source.text)
    if (mark) findings.push({ check: 'words', path: source.path, what: `a mark of unfinished work: ${mark[0]}` })
    if (!source.path.startsWith('src/') || source.path.includes('/dialects/') || isTest(source.path)) continue
    // What is imported keeps the name that its dialect gave it.
    const imported = new Set(
      [...source.text.matchAll(/import\s*(?:type\s*)?\{([^}]*)\}/g)].flatMap((match) =>
        (match[1] as string).split(',').map(
          (name) =>
            name
              .trim()
              .split(/\s+as\s+/)
              .at(-1)
              ?.replace(/^type /, '') ?? '',
        ),
      ),
    )
    const declared = codeOf(source.text.replace(/`[^`]*`/g, (text) => [...text.matchAll(/\$\{([^}]*)\}/g)].map((part) => part[1]).join(' ')))
      .replace(/import[\s\S]*?from[^\n]*/g, '')
      .replace(/export \{[\s\S]*?\}[^\n]*/g, '')
    for (const match of declared.matchAll(/\b[A-Za-z_$][\w$]*\b/g)) {
      // Names of environment variables are other people's.
      if (imported.has(match[0]) || /^[A-Z0-9_]+$/.test(match[0])) continue
      const word = NEVER.find((never) => match[0].toLowerCase().includes(never))
      if (word) {
        findings.push({ check: 'words', path: source.path, what: `the name ${match[0]} has the word ${word}` })
        break
      }
    }
  }
  return findings
}

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
/** Beside the migrations: what each was when it came to stand there. */
export const CHECKSUMS = 'migrations/checksums.json'
const checksumsOf = (sources: readonly Source[]) => JSON.parse(sources.find((source) => source.path === CHECKSUMS)?.text ?? '{}') as Record<string, string>

/** What users ask of their own tables becomes SQL here; no table of ours is named. */
const MAKERS_OF_SQL = /^src\/data\/(query\/[a-z-]+|transaction)\.ts$/

/**
 * SQL stands in store.ts alone (and in backends/database, which speaks it for a living). A table is named by the room
 * that owns it, which stands at the head of the migration that makes it; what core owns, rooms may read and join, as
 * they refer to it by foreign keys, but not change. A migration that stands there is never changed.
 */
export const tables: Check = (sources) => {
  const findings: Finding[] = []
  const report = (at: string, what: string) => findings.push({ check: 'tables', path: at, what })
  const owners = new Map<string, string>()
  const sums = checksumsOf(sources)
  for (const source of sources) {
    if (!/^migrations\/.*\.sql$/.test(source.path)) continue
    const room = /^-- ([a-z]+):/i.exec(source.text)?.[1]?.toLowerCase()
    if (room === undefined) report(source.path, 'its head does not name the room that owns it (`-- room: what it is`)')
    for (const match of source.text.matchAll(/create (?:view |table (?:if not exists )?)(mayfly\.[a-z_]+)/gi)) owners.set(match[1] as string, room ?? '')
    const sum = sums[source.path]
    if (sum === undefined) report(source.path, 'is not sealed yet: `npm run tidy -- --seal`')
    else if (sum !== sha256(source.text)) report(source.path, 'was changed after it was sealed: add another migration instead')
  }
  for (const sealed of Object.keys(sums)) {
    if (!sources.some((source) => source.path === sealed)) report(sealed, 'was sealed and is gone: databases have it applied')
  }
  for (const source of sources) {
    if (!source.path.startsWith('src/') || isTest(source.path) || source.path.startsWith('src/backends/database/')) continue
    const isStore = /\/store\.ts$/.test(source.path)
    if (MAKERS_OF_SQL.test(source.path)) continue
    if (!isStore && /`\s*(select|insert into|update|delete from|with)\s[^`]*\b(from|set|values|mayfly\.)/i.test(source.text))
      report(source.path, 'SQL outside a store')
    if (!isStore) continue
    const room = roomOf(source.path) as string
    for (const table of new Set([...source.text.matchAll(/\bmayfly\.[a-z_]+\b(?!\()/g)].map((match) => match[0]))) {
      const owner = owners.get(table)
      if (owner === undefined) report(source.path, `names ${table}, which no migration makes`)
      else if (owner !== room && owner !== 'core') report(source.path, `names ${table}, which ${owner} owns`)
      else if (owner !== room && new RegExp(`(insert into|update|delete from) ${table.replace('.', '\\.')}\\b`, 'i').test(source.text))
        report(source.path, `changes ${table}, which core owns`)
    }
  }
  return findings
}

const textOf = (sources: readonly Source[], fits: (path: string) => boolean) => sources.filter((source) => fits(source.path)).map((source) => source.text)
const hasWord = (texts: readonly string[], word: string) => texts.some((text) => new RegExp(`\\b${word}\\b`).test(text))

/** Every error is thrown somewhere, listed, and expected by a test; every limit is held somewhere, and its test names it. */
export const catalogues: Check = (sources) => {
  const findings: Finding[] = []
  const report = (at: string, what: string) => findings.push({ check: 'catalogues', path: at, what })
  const ERRORS = 'src/core/errors.ts'
  const LIMITS = 'src/core/limits.ts'
  const errors = sources.find((source) => source.path === ERRORS)
  const limits = sources.find((source) => source.path === LIMITS)
  const code = sources.filter((source) => /^src\/.*\.ts$/.test(source.path) && !isTest(source.path) && source.path !== ERRORS && source.path !== LIMITS)
  const tests = textOf(sources, (path) => isTest(path) && !path.startsWith('tools/'))
  const listed = new Set([...(errors?.text ?? '').matchAll(/^ {2}([a-z_]+): \{/gm)].map((match) => match[1] as string))
  for (const source of code) {
    for (const match of source.text.matchAll(/new MayflyError\(\s*'([a-z_]+)'/g)) {
      if (errors && !listed.has(match[1] as string)) report(source.path, `throws ${match[1]}, which ${ERRORS} does not list`)
    }
  }
  for (const name of listed) {
    // A code may be chosen before it is thrown; a text in code it is in any case.
    if (!code.some((source) => source.text.includes(`'${name}'`))) report(ERRORS, `lists ${name}, which nobody throws`)
    if (!hasWord(tests, name)) report(ERRORS, `lists ${name}, which no test expects`)
  }
  for (const match of (limits?.text ?? '').matchAll(/^ {2}(\w+): \{([\s\S]*?)provenBy: '([^']+)'/gm)) {
    const [, name, , provenBy] = match as unknown as [string, string, string, string]
    if (
      !hasWord(
        textOf(sources, (path) => path === provenBy),
        name,
      )
    )
      report(LIMITS, `says that ${name} is proven by ${provenBy}, which does not name it`)
    if (!code.some((source) => source.text.includes(`LIMITS.${name}`))) report(LIMITS, `lists ${name}, which nobody holds`)
  }
  return findings
}

/** Every row of docs/api.md, which is made of the route tables, says who may come in, has rows in a test and stands in the acceptance coverage. */
export const routes: Check = (sources) => {
  const findings: Finding[] = []
  const report = (what: string) => findings.push({ check: 'routes', path: 'docs/api.md', what })
  const tests = textOf(sources, isTest)
  const coverage = textOf(sources, (path) => path === 'test/acceptance/COVERAGE.md').join('\n')
  const named = new Set<string>()
  for (const match of textOf(sources, (path) => path === 'docs/api.md')
    .join('\n')
    .matchAll(/^\| (\w+) \| `([^`]+)` \| ([^|]*)\|/gm)) {
    const [, method, path, who] = match as unknown as [string, string, string, string]
    // The dated paths of the Lambda API are one route under many names.
    const name = `${method} ${path.replace(/^\/\d{4}-\d\d-\d\d\/\*$/, '/<date>/*')}`
    if (who.trim() === '') report(`${name} says of nobody that he may come in`)
    if (named.has(name)) continue
    named.add(name)
    if (!tests.some((text) => text.includes(`'${name}'`))) report(`${name} has no row in a test`)
    if (!coverage.includes(`\`${name}\``)) report(`${name} is missing from test/acceptance/COVERAGE.md`)
  }
  return findings
}

/** Paths that ARCHITECTURE.md speaks of exist. */
export const docPaths =
  (exists: (file: string) => boolean): Check =>
  (sources) => {
    const findings: Finding[] = []
    for (const source of sources) {
      if (source.path !== 'ARCHITECTURE.md') continue
      for (const match of source.text.matchAll(/`((?:src|runtimes|client|cli|tools|test|bench|docs|migrations|examples|bin)\/[\w./-]*)`/g)) {
        const named = (match[1] as string).replace(/\/$/, '')
        if (!exists(named)) findings.push({ check: 'docs', path: source.path, what: `speaks of ${named}, which does not exist` })
      }
    }
    return findings
  }

export const CHECKS: readonly Check[] = [layers, doors, world, words, tables, catalogues, routes, docPaths((file) => existsSync(path.join(ROOT, file)))]

export const tidy = (sources: readonly Source[]): Finding[] => CHECKS.flatMap((check) => check(sources))

if (import.meta.main) {
  const sources = readSources()
  if (process.argv.includes('--seal')) {
    // Only what is new: what was sealed stays as it was.
    const sums = checksumsOf(sources)
    for (const source of sources) if (/^migrations\/.*\.sql$/.test(source.path)) sums[source.path] ??= sha256(source.text)
    const text = `${JSON.stringify(Object.fromEntries(Object.entries(sums).toSorted(([a], [b]) => (a < b ? -1 : 1))), null, 2)}\n`
    writeFileSync(path.join(ROOT, CHECKSUMS), text)
    process.stdout.write(`sealed: ${Object.keys(sums).length} migrations\n`)
    process.exit(0)
  }
  const findings = tidy(sources)
  for (const finding of findings) process.stdout.write(`${finding.check}: ${finding.path}: ${finding.what}\n`)
  if (process.argv.includes('--sizes')) {
    for (const source of sources) {
      const lines = source.text.split('\n').length
      if (source.path.endsWith('.ts') && lines > 400) process.stdout.write(`size: ${source.path}: ${lines} lines\n`)
    }
  }
  process.exitCode = findings.length > 0 ? 1 : 0
}
