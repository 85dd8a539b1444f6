import { content, type Json, type Violations } from './request.ts'

/** What a member of a request may be, as the service description declares it. Lengths of texts are counted in characters. */
export type Shape =
  | { readonly type: 'text'; readonly min?: number; readonly max?: number; readonly pattern?: string }
  | { readonly type: 'choice'; readonly of: readonly string[] }
  | { readonly type: 'whole'; readonly min: number; readonly max: number }
  | { readonly type: 'boolean' }
  /** Seconds since 1970, with a fraction. */
  | { readonly type: 'date' }
  | { readonly type: 'list'; readonly of: Shape; readonly min?: number; readonly max?: number }
  | { readonly type: 'map'; readonly of: Shape; readonly max?: number }
  | { readonly type: 'object'; readonly members: Readonly<Record<string, Shape>>; readonly required?: readonly string[] }

/** The value of a shape; members may be absent, those that are required too until the violations were checked. */
export type Of<S> = S extends { type: 'text' | 'choice' }
  ? string
  : S extends { type: 'whole' | 'date' }
    ? number
    : S extends { type: 'boolean' }
      ? boolean
      : S extends { type: 'list' | 'map'; of: infer E }
        ? S extends { type: 'list' }
          ? Of<E>[]
          : Record<string, Of<E>>
        : S extends { type: 'object'; members: infer M }
          ? { -readonly [K in keyof M]?: Of<M[K]> }
          : never

export const text = (max: number, pattern?: string, min = 0) => ({ type: 'text', min, max, ...(pattern === undefined ? {} : { pattern }) }) as const
export const choice = (...of: readonly string[]) => ({ type: 'choice', of }) as const
export const whole = (min: number, max: number) => ({ type: 'whole', min, max }) as const
export const flag = { type: 'boolean' } as const
export const date = { type: 'date' } as const
export const list = <const S extends Shape>(of: S, max = Number.POSITIVE_INFINITY, min = 0) => ({ type: 'list', of, min, max }) as const
export const map = <const S extends Shape>(of: S, max = Number.POSITIVE_INFINITY) => ({ type: 'map', of, max }) as const
export const object = <const M extends Readonly<Record<string, Shape>>>(members: M, required: readonly (keyof M & string)[] = []) =>
  ({ type: 'object', members, required }) as const

/**
 * Takes of a request what its shape has; what it has not is ignored, and `null` counts as absent.
 * All violations are collected, so that they are told together.
 * @throws LambdaError InvalidRequestContentException where the JSON has another type
 */
export function take<S extends Shape>(shape: S, value: unknown, violations: Violations, path = ''): Of<S> {
  return taken(shape, value, violations, path) as Of<S>
}

function taken(shape: Shape, value: unknown, violations: Violations, path: string): unknown {
  switch (shape.type) {
    case 'text':
      if (typeof value !== 'string') throw wrongType(path, 'a string')
      return takeText(shape, value, violations, path)
    case 'choice':
      if (typeof value !== 'string') throw wrongType(path, 'a string')
      if (!shape.of.includes(value)) violations.add(path, value, `Member must satisfy enum value set: [${shape.of.join(', ')}]`)
      return value
    case 'whole':
      if (typeof value !== 'number' || !Number.isInteger(value)) throw wrongType(path, 'a whole number')
      violations.range(path, value, shape.min, shape.max)
      return value
    case 'boolean':
      if (typeof value !== 'boolean') throw wrongType(path, 'a boolean')
      return value
    case 'date':
      if (typeof value !== 'number' || !Number.isFinite(value)) throw wrongType(path, 'a number of seconds')
      return value
    case 'list':
      if (!Array.isArray(value)) throw wrongType(path, 'a list')
      count(shape, value.length, `[${value.length} items]`, violations, path)
      return value.map((item, index) => taken(shape.of, item, violations, `${path}.${index + 1}.member`))
    case 'map': {
      const entries = Object.entries(objectAt(value, path))
      count(shape, entries.length, `[${entries.length} entries]`, violations, path)
      return Object.fromEntries(entries.map(([key, item]) => [key, taken(shape.of, item, violations, `${path}.${key.slice(0, 100)}.member`)]))
    }
    case 'object':
      return takeMembers(shape, objectAt(value, path), violations, path)
  }
}

function takeText(shape: Extract<Shape, { type: 'text' }>, value: string, violations: Violations, path: string): string {
  const length = [...value].length
  if (shape.max !== undefined && length > shape.max) violations.add(path, value, `Member must have length less than or equal to ${shape.max}`)
  if (shape.min !== undefined && length < shape.min) violations.add(path, value, `Member must have length greater than or equal to ${shape.min}`)
  // Halves of characters and NUL are in no pattern that says so, but no text of PostgreSQL can hold them.
  if (!value.isWellFormed() || value.includes('\0')) violations.add(path, value.toWellFormed(), 'Member must be whole characters without NUL')
  else if (shape.pattern !== undefined && !new RegExp(`^(?:${shape.pattern})$`, 's').test(value))
    violations.add(path, value, `Member must satisfy regular expression pattern: ${shape.pattern}`)
  return value
}

function takeMembers(shape: Extract<Shape, { type: 'object' }>, value: Json, violations: Violations, path: string): Record<string, unknown> {
  const members: Record<string, unknown> = {}
  for (const [name, member] of Object.entries(shape.members)) {
    const at = path === '' ? camel(name) : `${path}.${camel(name)}`
    const given = Object.hasOwn(value, name) ? value[name] : undefined
    if (given !== undefined && given !== null) members[name] = taken(member, given, violations, at)
    else if (shape.required?.includes(name)) violations.missing(at)
  }
  return members
}

function count(shape: { readonly min?: number; readonly max?: number }, length: number, value: string, violations: Violations, path: string): void {
  if (shape.max !== undefined && length > shape.max) violations.add(path, value, `Member must have length less than or equal to ${shape.max}`)
  if (shape.min !== undefined && length < shape.min) violations.add(path, value, `Member must have length greater than or equal to ${shape.min}`)
}

function objectAt(value: unknown, path: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrongType(path === '' ? 'The request body' : path, 'a JSON object')
  return value as Json
}

const camel = (name: string) => name.charAt(0).toLowerCase() + name.slice(1)
const wrongType = (path: string, type: string) => content(`${path} must be ${type}`)

/** ARNs of any service. */
export const ANY_ARN = String.raw`arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)`
/** ARNs of what Lambda itself names, or nothing. */
export const ARN_OR_EMPTY = '(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()'
