import type { Statement } from '../../backends/database/session-pool.ts'
import type { Shape } from '../plan/plan.ts'
import type { Preferences } from '../request/preferences.ts'
import { countedText, CSV_NAMES, CSV_ROW, customText, estimateOf, featureText, type Made, madeText, rowsText } from './query.ts'
import { MADE } from './read.ts'
import { Values } from './text.ts'

/** An answer that leaves PostgreSQL in pieces. */
export interface PiecesQuery {
  /** Answers with one row, as the whole would, but for its body. `before` is what stands before the first row. */
  readonly head: Statement
  readonly estimate: Statement | null
  /**
   * Makes the cursor, whose rows are pieces of bytes, each with whether an element of the answer begins with it. A byte
   * is told as the character of its number: the driver reads that at once, and bytes as such in twice their length.
   */
  readonly open: Statement
  /** What stands between elements, and what behind the last one. */
  readonly between: string
  readonly after: string
  /** The whole where there is no element. */
  readonly nothing: string | null
  /** How bytes are told. */
  readonly coding: 'latin1' | 'hex'
}

/** Bytes: what of a value is held at once, however long it is. */
const PIECE = 32 * 1024
const CURSOR = 'mayfly_answer'

/** The same answer as that of `queryOf`, for what is only read. */
export function piecesOf(plan: Made, { count }: Pick<Preferences, 'count'>, countUpTo: number | null): PiecesQuery {
  const { element, before, between, after, nothing, isBytes } = framed(plan.shape)
  const values = new Values()
  // Made once, and as a whole: what a function says of the answer is said before the answer begins.
  const made = madeText(plan, values)
  const shown = rowsText(plan, values)
  const { counted, total } = countedText(plan, count, countUpTo, values)
  const head = [
    `with ${made === null ? '' : `${MADE} as materialized (${made}), `}shown as (${shown})${counted}`,
    ` select null as body, null as bytes, ${before} as before, (select count(*) from shown) as page, ${total} as total, null as new_rows, null as location`,
  ].join('')
  return {
    head: { text: head, values: values.all },
    estimate: estimateOf(plan, count),
    open: opening(plan, element, isBytes ?? false),
    between,
    after,
    nothing,
    coding: isBytes ? 'hex' : 'latin1',
  }
}

function opening(plan: Made, element: string, isBytes: boolean): Statement {
  const values = new Values()
  const made = madeText(plan, values)
  const shown = rowsText(plan, values)
  const text = [
    `declare ${CURSOR} no scroll cursor for with ${made === null ? '' : `${MADE} as (${made}), `}shown as (${shown})`,
    ` select place = 0 as begins, ${isBytes ? 'encode' : 'convert_from'}(substring(bytes, 1 + place * ${PIECE}, ${PIECE}), '${isBytes ? 'hex' : 'LATIN1'}') as piece`,
    // Each element is made once, not once for each of its pieces.
    ` from (select ${element} as bytes from shown offset 0) as element, generate_series(0, greatest(octet_length(bytes) - 1, 0) / ${PIECE}) as place`,
  ].join('')
  return { text, values: values.all }
}

const fetching = (pieces: number): Statement => ({ text: `fetch forward ${pieces} from ${CURSOR}`, values: [] })
/** Few, so that each is parsed once. The most times a piece is what memory may hold. */
export const FETCHES: readonly Statement[] = [16, 64, 256].map(fetching)

interface Frame {
  readonly element: string
  readonly before: string
  readonly between: string
  readonly after: string
  readonly nothing: string | null
  /** Not only bytes of a text, but any. */
  readonly isBytes?: boolean
}

function framed({ media, value }: Shape): Frame {
  const isScalar = value === 'scalar' || value === 'scalars'
  const bytes = (text: string) => `convert_to(${text}, 'UTF8')`
  if (media.kind === 'csv' && !isScalar) return { element: bytes(CSV_ROW), before: CSV_NAMES, between: '\n', after: '', nothing: null }
  if (media.kind === 'custom') {
    const { isBytes } = media.handler
    const made = customText(media, value)
    // Taken out of where it lies once, not for each of its pieces.
    return { element: isBytes ? `${made} || ''::bytea` : bytes(made), before: `''`, between: '', after: '', nothing: null, isBytes }
  }
  if (media.kind === 'geojson')
    return {
      element: bytes(`${featureText(media)}::text`),
      before: `'{"type" : "FeatureCollection", "features" : ['`,
      between: ', ',
      after: ']}',
      nothing: null,
    }
  const isStripped = (media.kind === 'array' || media.kind === 'object') && media.isStripped
  const json = isScalar ? `coalesce(to_json(shown.value), 'null')` : 'row_to_json(shown.*)'
  const element = bytes(`(${isStripped ? `json_strip_nulls(${json})` : json})::text`)
  if (value === 'scalar' || value === 'row' || media.kind === 'object') return { element, before: `''`, between: '', after: '', nothing: 'null' }
  return { element, before: `'['`, between: isStripped ? ',' : isScalar ? ', ' : ', \n ', after: ']', nothing: null }
}
