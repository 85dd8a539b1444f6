import { invalidValue, missing } from './errors.ts'

export type Json = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** @throws SqsError */
export function textOf(input: Json, name: string): string {
  const value = input[name]
  if (value === undefined || value === null) throw missing(name)
  if (typeof value !== 'string') throw invalidValue(`Value for parameter ${name} is invalid. Reason: Must be a string.`)
  return value
}

/** Of a form a number is a text. @throws SqsError */
export function wholeOf(input: Json, name: string, least: number, most: number): number | undefined {
  const value = input[name]
  if (value === undefined || value === null) return undefined
  const number = typeof value === 'string' && /^-?\d{1,9}$/.test(value) ? Number(value) : value
  if (typeof number !== 'number' || !Number.isInteger(number) || number < least || number > most)
    throw invalidValue(`Value ${String(value).slice(0, 50)} for parameter ${name} is invalid. Reason: Must be >= ${least} and <= ${most}, if provided.`)
  return number
}

/** @throws SqsError */
export function namesOf(input: Json, name: string): readonly string[] {
  const value = input[name] ?? []
  if (!Array.isArray(value) || value.some((one) => typeof one !== 'string'))
    throw invalidValue(`Value for parameter ${name} is invalid. Reason: Must be a list of strings.`)
  return value as string[]
}

/** @throws SqsError */
export function textsOf(input: Json, name: string): Readonly<Record<string, string>> {
  const value = input[name] ?? {}
  if (!isObject(value) || Object.values(value).some((one) => typeof one !== 'string'))
    throw invalidValue(`Value for parameter ${name} is invalid. Reason: Must be a map of strings.`)
  return value as Record<string, string>
}
