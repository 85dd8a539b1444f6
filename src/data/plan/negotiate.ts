import { DataError } from '../errors.ts'
import type { MediaType } from '../request/media.ts'
import type { DataRequest } from '../request/request.ts'
import type { Handler, Qualified, Routine, Snapshot } from '../schema/snapshot.ts'
import { nameOf } from '../schema/snapshot.ts'
import type { MediaPlan } from './plan.ts'

/** What is to be told in a form that is wanted. */
export interface Told {
  /** Of a function: that function. */
  readonly routine: Routine | null
  /** Whose rows they are; null where they are of no relation. */
  readonly relation: Qualified | null
  readonly isRows: boolean
}

/**
 * The first form that is wanted and that there is one for: of the relation's or the function's own, of those for anything,
 * of what is built in. Forms of one relation take its rows as they are, all columns and nothing beside them.
 * @throws DataError PGRST107
 */
export function negotiate(request: DataRequest, snapshot: Snapshot, told: Told): MediaPlan {
  const { accept, isRead, preferences } = request
  for (const type of accept) {
    if (type.kind === 'object' || type.kind === 'array') return type
    if (type.kind === 'plan') {
      if (snapshot.settings.hasPlans) return type
      continue
    }
    const found = formOf(mediaName(type), request, snapshot, told)
    if (found) return found
  }
  // Who is told nothing is told it in any form.
  if (!isRead && preferences.return !== 'representation') return { kind: 'json' }
  throw notAcceptable(accept)
}

const isDefault = ({ select }: DataRequest): boolean => {
  const [only, ...others] = select
  if (only === undefined) return true
  return others.length === 0 && only.kind === 'field' && only.field?.name === '*' && only.field.path.length === 0 && only.cast === null && only.alias === null
}

function formOf(name: string, request: DataRequest, { handlers, geojson }: Snapshot, { routine, relation, isRows }: Told): MediaPlan | null {
  const of = relation !== null ? handlers.relations.get(nameOf(relation)) : routine === null ? undefined : handlers.routines.get(nameOf(routine))
  const own = isDefault(request) ? (of?.get('*/*') ?? of?.get(name)) : undefined
  const handler: Handler | undefined = own ?? handlers.any.get(name)
  // What a function returns has its form already.
  if (handler) return { kind: 'custom', handler, takes: own === undefined || relation === null ? null : relation }
  if (name === '*/*' || name === 'application/json') return { kind: 'json' }
  if (name === 'text/csv') return { kind: 'csv' }
  return name === 'application/geo+json' && geojson !== null && isRows ? { kind: 'geojson', by: geojson } : null
}

export const notAcceptable = (accept: readonly MediaType[]) =>
  new DataError('PGRST107', `None of these media types are available: ${accept.map(mediaName).join(', ')}`)

const mediaName = (type: MediaType): string => {
  switch (type.kind) {
    case 'any':
      return '*/*'
    case 'csv':
      return 'text/csv'
    case 'openapi':
      return 'application/openapi+json'
    case 'plan':
      return `application/vnd.pgrst.plan+${type.format}; for="${type.of}"`
    case 'array':
    case 'object':
      return `application/vnd.pgrst.${type.kind}+json${type.isStripped ? ';nulls=stripped' : ''}`
    case 'other':
      return type.name
    case 'json':
      return 'application/json'
  }
}

/** The name in `Content-Type`. */
export function contentTypeOf(type: MediaPlan | { readonly kind: 'openapi' }): string {
  switch (type.kind) {
    case 'json':
      return 'application/json; charset=utf-8'
    case 'csv':
      return 'text/csv; charset=utf-8'
    case 'openapi':
      return 'application/openapi+json; charset=utf-8'
    case 'array':
    case 'object':
      return `application/vnd.pgrst.${type.kind}+json${type.isStripped ? ';nulls=stripped' : ''}; charset=utf-8`
    case 'plan':
      return `application/vnd.pgrst.plan+${type.format}; for="${/^[\w./+;= -]{1,100}$/.test(type.of) ? type.of : 'application/json'}"${type.options.length > 0 ? `; options=${type.options.join('|')}` : ''}; charset=utf-8`
    case 'geojson':
      return 'application/geo+json; charset=utf-8'
    case 'custom':
      return `${type.handler.contentType}${TEXTS.has(type.handler.contentType) ? '; charset=utf-8' : ''}`
  }
}

/** Of these it is said that they are UTF-8. */
const TEXTS = new Set(['application/json', 'application/geo+json', 'text/csv', 'text/plain', 'text/xml'])
