import assert from 'node:assert/strict'

/**
 * JSON from outside that a test looks into freely: any field may be asked for, and what is found is nothing but
 * something to compare. What a test needs as a text or a list it takes by the functions below, which look.
 */
export interface Told {
  readonly [field: string]: Told
}

export const told = (json: string): Told => JSON.parse(json) as Told

export function textOf(value: Told | undefined): string {
  assert.equal(typeof value, 'string', `a text is expected, not ${JSON.stringify(value)}`)
  return value as unknown as string
}

export function listOf(value: Told | undefined): readonly Told[] {
  assert(Array.isArray(value), `a list is expected, not ${JSON.stringify(value)}`)
  return value as readonly Told[]
}

export function numberOf(value: Told | undefined): number {
  assert.equal(typeof value, 'number', `a number is expected, not ${JSON.stringify(value)}`)
  return value as unknown as number
}
