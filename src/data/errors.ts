import { DatabaseError } from '../backends/database/database.ts'

/** What clients of the data API know: by code, the status of the answer. What PostgreSQL refuses keeps its own code, `statusOfSqlState`. */
export const DATA_ERRORS = {
  PGRST000: 503,
  PGRST001: 503,
  PGRST002: 503,
  PGRST003: 504,
  PGRST100: 400,
  PGRST101: 405,
  PGRST102: 400,
  PGRST103: 416,
  PGRST105: 405,
  PGRST106: 406,
  PGRST107: 406,
  PGRST108: 400,
  PGRST111: 500,
  PGRST112: 500,
  PGRST114: 400,
  PGRST115: 400,
  PGRST116: 406,
  PGRST117: 405,
  PGRST118: 400,
  PGRST120: 400,
  PGRST121: 500,
  PGRST122: 400,
  PGRST123: 400,
  PGRST124: 400,
  PGRST125: 404,
  PGRST127: 400,
  PGRST128: 400,
  PGRST200: 400,
  PGRST201: 300,
  PGRST202: 404,
  PGRST203: 300,
  PGRST204: 400,
  PGRST205: 404,
  PGRST301: 401,
  PGRST303: 401,
} as const satisfies Record<string, number>
export type DataErrorCode = keyof typeof DATA_ERRORS

/** A refusal in the words of the data API. */
export class DataError extends Error {
  readonly code: DataErrorCode
  readonly details: unknown
  readonly hint: string | null
  constructor(code: DataErrorCode, message: string, { details = null, hint = null }: { details?: unknown; hint?: string | null } = {}) {
    super(message)
    this.name = 'DataError'
    this.code = code
    this.details = details
    this.hint = hint
  }
  get status(): number {
    return DATA_ERRORS[this.code]
  }
}

/** More than one answer may hold: asked for in parts it comes. */
export class AnswerTooLarge extends Error {
  constructor(bytes: number, most: number) {
    super(`the answer has ${bytes} bytes; ${most} is the limit`)
  }
}

/** What a parser met, told as its clients expect it: which parameter, and where in it. */
export const unparsable = (what: string, text: string, at: number, details: string): DataError =>
  new DataError('PGRST100', `"failed to parse ${what} (${text})" (line 1, column ${at + 1})`, { details })

/** What is not built yet is said so, instead of being answered wrongly. */
export const notImplemented = (what: string): DataError => new DataError('PGRST127', 'Feature not implemented', { details: what })

const BY_CLASS: readonly (readonly [RegExp, number])[] = [
  [/^08/, 503],
  [/^09/, 500],
  [/^0[LP]/, 403],
  [/^2350[35]$/, 409],
  [/^25006$/, 405],
  [/^25/, 500],
  [/^28/, 403],
  [/^(2D|38|39|3B|40)/, 500],
  [/^53400$/, 500],
  [/^53/, 503],
  [/^5[45]/, 500],
  [/^57P01$/, 503],
  [/^5[78]/, 500],
  [/^(F0|HV)/, 500],
  [/^P0001$/, 400],
  [/^(P0|XX)/, 500],
  [/^42883$/, 404],
  [/^42P01$/, 404],
  [/^42P17$/, 500],
]

/** @param isAnonymous  whoever asks acts in the role that everybody has: to sign in could help */
export function statusOfSqlState(state: string, message: string, isAnonymous: boolean): number {
  if (state === '21000') return message.endsWith('requires a WHERE clause') ? 400 : 500
  if (state === '22023') return /role ".*" does not exist/.test(message) ? 401 : 400
  if (state === '42501') return isAnonymous ? 401 : 403
  if (state === '42883' && message.startsWith('function xmlagg(')) return 406
  const own = /^PT(\d{3})$/.exec(state)
  if (own) return Number(own[1]) >= 200 ? Number(own[1]) : 500
  return BY_CLASS.find(([states]) => states.test(state))?.[1] ?? 400
}

/** Whether what failed may succeed when it is asked for again a moment later. */
export const isAway = (error: unknown): boolean => error instanceof DatabaseError && error.isAway
