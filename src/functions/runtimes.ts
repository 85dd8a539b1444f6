import { MayflyError } from '../core/errors.ts'
import type { FunctionDefinition } from './types.ts'

/** What a function may name; which of them a node has depends on what is installed there. */
export const RUNTIMES = [
  'nodejs22.x',
  'nodejs24.x',
  'nodejs26.x',
  'python3.9',
  'python3.10',
  'python3.11',
  'python3.12',
  'python3.13',
  'python3.14',
  'python3.15',
  'provided',
  'provided.al2',
  'provided.al2023',
] as const

/** Of languages that are here, but whose makers ended these, and what AWS itself takes no more. */
const RETIRED = /^(nodejs(4\.3(-edge)?|6\.10|8\.10|1[02468]\.x|20\.x)?|python(2\.7|3\.[678])|go1\.x|dotnetcore[\d.]+|ruby2\.\d)$/

/** Languages that AWS has runtimes for and Mayfly has none. */
const ELSEWHERE: readonly (readonly [prefix: string, language: string])[] = [
  ['java', 'Java'],
  ['ruby', 'Ruby'],
  ['dotnet', '.NET'],
]

export const isRuntime = (name: string): boolean => (RUNTIMES as readonly string[]).includes(name)

/** What the Lambda API says of a runtime that nobody can name. */
export function unknownRuntime(name: string): string {
  if (RETIRED.test(name))
    return `The runtime parameter of ${name} is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions.`
  const language = ELSEWHERE.find(([prefix]) => name.startsWith(prefix))?.[1]
  const hint = language === undefined ? '' : `. Mayfly has no runtime for ${language}: bring it as an executable bootstrap, with the runtime provided.al2023`
  return `1 validation error detected: Value '${name.slice(0, 100)}' at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [${RUNTIMES.join(', ')}]${hint}`
}

/**
 * @param refusal  why this node cannot run a runtime, or null
 * @throws MayflyError bad_request
 */
export function checkRuntime({ runtime, concurrency }: Pick<FunctionDefinition, 'runtime' | 'concurrency'>, refusal: (runtime: string) => string | null): void {
  const why = refusal(runtime)
  if (why !== null) throw new MayflyError('bad_request', `runtime: ${why}`)
  if (concurrency > 1 && !runtime.startsWith('nodejs')) {
    throw new MayflyError('bad_request', `concurrency: a sandbox of ${runtime} takes one call at a time; the Node runtimes alone take more`)
  }
}
