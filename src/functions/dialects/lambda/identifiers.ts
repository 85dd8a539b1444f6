import type { IncomingHttpHeaders } from 'node:http'
import { ACCOUNT_ID, invalidParameter, notFound, validation } from './errors.ts'

const REGION = String.raw`((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})`
const NAME_PATTERN = `(arn:(aws[a-zA-Z-]*)?:lambda:)?(${REGION.slice(1, -1)}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?`
const NAMESPACED_PATTERN = `(arn:(aws[a-zA-Z-]*)?:lambda:)?(${REGION.slice(1, -1)}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9-_]+))?`

const identifier = (name: string, suffix: string) =>
  new RegExp(
    `^(?<arn>arn:(?:aws[a-zA-Z-]*)?:lambda:)?(?:(?<region>${REGION}):)?(?:(?<account>\\d{12}):)?(?<keyword>function:)?(?<name>${name})(?::(?<qualifier>${suffix}))?$`,
  )
const CONTROL = identifier('[a-zA-Z0-9-_]+', '\\$LATEST|[a-zA-Z0-9-_]+')
const NAMESPACED = identifier('[a-zA-Z0-9-_.]+', '\\$LATEST(?:\\.PUBLISHED)?|[a-zA-Z0-9-_]+')
const QUALIFIER = /^(\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+)$/
const QUALIFIER_PATTERN = String.raw`\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+`

export const DEFAULT_REGION = 'us-east-1'

/** A function as a request names it. */
export interface FunctionName {
  readonly name: string
  /** Null when neither the name nor the query has one. */
  readonly qualifier: string | null
}

export interface NameRules {
  readonly region: string
  /** `namespaced`: get, invoke, delete. `control`: all others. */
  readonly kind: 'control' | 'namespaced'
  /** The `Qualifier` of the query. */
  readonly qualifier?: string | null
}

export const functionArn = (region: string, name: string, qualifier: string | null = null) =>
  `arn:aws:lambda:${region}:${ACCOUNT_ID}:function:${name}${qualifier === null ? '' : `:${qualifier}`}`

/**
 * Takes every form of 1.2: name, name:qualifier, partial and full ARN.
 * @throws LambdaError ValidationException, InvalidParameterValueException, ResourceNotFoundException
 */
export function parseFunctionName(text: string, rules: NameRules): FunctionName {
  const [pattern, shown, longest] = rules.kind === 'control' ? ([CONTROL, NAME_PATTERN, 140] as const) : ([NAMESPACED, NAMESPACED_PATTERN, 256] as const)
  const violations: string[] = []
  const groups = pattern.exec(text)?.groups
  const cut = text.slice(0, 300)
  // An ARN is whole or it is none; the pattern alone would let parts be missing.
  const whole = groups && (groups.arn === undefined || (groups.region !== undefined && groups.account !== undefined && groups.keyword !== undefined))
  if (!whole) violations.push(`Value '${cut}' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: ${shown}`)
  if (text.length > longest)
    violations.push(`Value '${cut}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to ${longest}`)
  const asked = rules.qualifier ?? null
  if (asked !== null) {
    if (!QUALIFIER.test(asked)) {
      violations.push(
        `Value '${asked.slice(0, 300)}' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ${QUALIFIER_PATTERN}`,
      )
    }
    if (asked.length > 128)
      violations.push(`Value '${asked.slice(0, 300)}' at 'qualifier' failed to satisfy constraint: Member must have length less than or equal to 128`)
  }
  if (violations.length > 0 || !groups) throw validation(violations)
  const name = groups.name as string
  const { region, account } = groups
  if (region !== undefined && region !== rules.region) throw notFound(`Functions from '${region}' are not reachable in this region ('${rules.region}')`)
  if (account !== undefined && account !== ACCOUNT_ID) throw notFound(`Function not found: arn:aws:lambda:${rules.region}:${account}:function:${name}`)
  const derived = groups.qualifier ?? null
  if (derived !== null && asked !== null && derived !== asked) {
    throw invalidParameter('The derived qualifier from the function name does not match the specified qualifier.')
  }
  return { name, qualifier: derived ?? asked }
}

/** The region of the credential scope, of the header or the presigned query. */
export function regionOf(headers: IncomingHttpHeaders, query: URLSearchParams): string {
  const scope = /Credential=[^/,\s]+\/\d{8}\/([a-z0-9-]{1,40})\//.exec(headers.authorization ?? '')?.[1]
  return scope ?? /^[^/]+\/\d{8}\/([a-z0-9-]{1,40})\//.exec(query.get('X-Amz-Credential') ?? '')?.[1] ?? DEFAULT_REGION
}
