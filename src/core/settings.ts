/** One value that an operator may set: its default, its bounds and a sentence; the type follows from the data. */
export interface Setting<T> {
  readonly default: T
  readonly doc: string
  /** What may stand there, in words, for docs and messages. */
  readonly takes: string
  /** Reads a flag, an environment variable or a value of the file. @throws RangeError saying what may stand there */
  readonly parse: (given: unknown) => T
}

export type Section = Readonly<Record<string, Setting<unknown>>>
export type Infer<S extends Section> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never }

const wrong = (takes: string): never => {
  throw new RangeError(`must be ${takes}`)
}

function whole(unit: string | null, range: { default: number; min: number; max: number; doc: string }): Setting<number> {
  const takes = `a whole number${unit === null ? '' : ` of ${unit}`} from ${range.min} to ${range.max}`
  return {
    default: range.default,
    doc: range.doc,
    takes,
    parse: (given) => {
      const value = typeof given === 'number' ? given : typeof given === 'string' && /^-?\d{1,15}$/.test(given) ? Number(given) : Number.NaN
      return Number.isInteger(value) && value >= range.min && value <= range.max ? value : wrong(takes)
    },
  }
}

export const milliseconds = (range: { default: number; min: number; max: number; doc: string }) => whole('milliseconds', range)
export const megabytes = (range: { default: number; min: number; max: number; doc: string }) => whole('megabytes', range)
export const count = (range: { default: number; min: number; max: number; doc: string; of?: string }) => whole(range.of ?? null, range)

export function oneOf<const T extends string>(values: readonly T[], more: { default: NoInfer<T>; doc: string }): Setting<T> {
  const takes = `one of ${values.join(', ')}`
  return { ...more, takes, parse: (given) => values.find((value) => value === given) ?? wrong(takes) }
}

export const flag = (more: { default: boolean; doc: string }): Setting<boolean> => ({
  ...more,
  takes: 'true or false',
  parse: (given) =>
    given === true || given === 'true' || given === '1' || given === ''
      ? true
      : given === false || given === 'false' || given === '0'
        ? false
        : wrong('true or false'),
})

/** Text; `null` when it is not set. A secret one is never shown. */
/** @param more.default  null where there need be none: only then may it be null when it is read */
export function text<D extends string | null>(more: {
  default: D
  doc: string
  pattern?: RegExp
  takes?: string
  secret?: boolean
}): Setting<string | D> & { readonly secret: boolean } {
  const takes = more.takes ?? 'text'
  return {
    default: more.default,
    doc: more.doc,
    takes,
    secret: more.secret ?? false,
    parse: (given) => (typeof given === 'string' && given !== '' && (more.pattern?.test(given) ?? true) ? given : wrong(takes)),
  }
}

/** Several texts: a list in the file, separated by commas elsewhere. */
export const list = (more: { doc: string; takes?: string; each?: (part: string) => boolean }): Setting<readonly string[]> => ({
  default: [],
  doc: more.doc,
  takes: more.takes ?? 'texts separated by commas',
  parse: (given) => {
    const parts = Array.isArray(given) ? given : typeof given === 'string' ? given.split(',').map((part) => part.trim()) : wrong('a list')
    return parts.every((part) => typeof part === 'string' && part !== '' && (more.each?.(part) ?? true))
      ? (parts as string[])
      : wrong(more.takes ?? 'texts separated by commas')
  },
})

export interface Sources {
  readonly flags: Readonly<Record<string, string | boolean>>
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The parsed mayfly.config.json, or null when there is none. */
  readonly file: unknown
}

export interface Resolved<T> {
  readonly values: T
  /** Where each value came from, by `section.name`. */
  readonly origins: Readonly<Record<string, 'flag' | 'environment' | 'file' | 'default'>>
}

/** All that is wrong with the settings, at once. */
export class SettingsError extends Error {
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'SettingsError'
    this.problems = problems
  }
}

/** `port` of section `node` is --port, MAYFLY_PORT and "port"; other sections' names carry their section. */
export const flagName = (section: string, name: string) => kebab(section === 'node' ? name : section === name ? name : `${section}-${name}`)
export const environmentName = (section: string, name: string) => `MAYFLY_${flagName(section, name).replaceAll('-', '_').toUpperCase()}`
const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

/**
 * Puts settings together: a flag beats the environment, that beats the file, that beats the default.
 * @throws SettingsError listing every problem
 */
export function resolveSettings<S extends Readonly<Record<string, Section>>>(
  sections: S,
  sources: Sources,
): Resolved<{ readonly [K in keyof S]: Infer<S[K]> }> {
  const problems: string[] = []
  const origins: Record<string, 'flag' | 'environment' | 'file' | 'default'> = {}
  const values: Record<string, Record<string, unknown>> = {}
  const known = new Set<string>()
  const file = sources.file === null ? {} : isRecord(sources.file) ? sources.file : {}
  if (sources.file !== null && !isRecord(sources.file)) problems.push('mayfly.config.json must hold one JSON object')
  for (const [section, settings] of Object.entries(sections)) {
    const own: Record<string, unknown> = {}
    values[section] = own
    for (const [name, setting] of Object.entries(settings)) {
      const flagged = flagName(section, name)
      const variable = environmentName(section, name)
      known.add(flagged)
      const inFile =
        section === 'node'
          ? file[name]
          : isRecord(file[section])
            ? (file[section] as Record<string, unknown>)[name]
            : section === name
              ? file[section]
              : undefined
      const found: [unknown, 'flag' | 'environment' | 'file', string] | null =
        sources.flags[flagged] !== undefined
          ? [sources.flags[flagged], 'flag', `--${flagged}`]
          : sources.environment[variable] !== undefined && sources.environment[variable] !== ''
            ? [sources.environment[variable], 'environment', variable]
            : inFile !== undefined
              ? [inFile, 'file', `"${section === 'node' ? name : `${section}.${name}`}" in mayfly.config.json`]
              : null
      own[name] = setting.default
      origins[`${section}.${name}`] = found?.[1] ?? 'default'
      if (!found) continue
      try {
        own[name] = setting.parse(found[0])
      } catch (error) {
        // The value may be a secret given to the wrong name: it is not repeated.
        problems.push(`${found[2]} ${(error as Error).message}`)
      }
    }
  }
  for (const name of Object.keys(sources.flags)) {
    if (!known.has(name)) problems.push(`--${name} is not an option${nearest(name, known)}`)
  }
  for (const name of Object.keys(file)) {
    const isSection = sections[name] !== undefined
    if (!isSection && !(sections.node && name in sections.node)) problems.push(`"${name}" in mayfly.config.json is not a setting${nearest(kebab(name), known)}`)
    else if (isSection && isRecord(file[name])) {
      for (const inner of Object.keys(file[name] as object)) {
        if (!(inner in (sections[name] as Section))) problems.push(`"${name}.${inner}" in mayfly.config.json is not a setting`)
      }
    }
  }
  if (problems.length > 0) throw new SettingsError(problems)
  return { values: values as { readonly [K in keyof S]: Infer<S[K]> }, origins }
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

function nearest(name: string, known: ReadonlySet<string>): string {
  let best: string | null = null
  let least = 3
  for (const candidate of known) {
    const distance = edits(name, candidate)
    if (distance < least) [best, least] = [candidate, distance]
  }
  return best === null ? '; `mayfly up --help` lists them' : `; did you mean --${best}?`
}

function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1))
    row = next
  }
  return row[b.length] as number
}
