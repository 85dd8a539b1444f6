import { DataError } from '../errors.ts'
import type { DataRequest } from '../request/request.ts'
import { nameOf, type Parameter, type Qualified, type Routine, type Snapshot } from '../schema/snapshot.ts'
import { mostLike } from './hints.ts'
import type { CallPlan } from './plan.ts'

/** Of a body that is taken as it is: the type of the one argument without a name. */
const WHOLE: Readonly<Record<string, readonly string[]>> = {
  'application/json': ['json', 'jsonb'],
  'text/plain': ['text'],
  'text/xml': ['xml'],
  'application/octet-stream': ['bytea'],
}

/** Which of the functions of a name is called, and with what. @throws DataError PGRST202, PGRST203 */
export function planCall(snapshot: Snapshot, qualified: Qualified, request: DataRequest): CallPlan {
  const overloads = snapshot.routines.get(nameOf(qualified)) ?? []
  const { payload } = request
  const isRaw = payload?.kind === 'raw'
  const isObject = payload === null || (payload.kind === 'json' && !payload.isArray)
  const given = payload === null ? request.arguments.map(([key]) => key) : payload.kind === 'json' ? payload.keys : []
  const keys = [...new Set(given)]
  const named = isRaw || !isObject ? [] : overloads.filter((routine) => takes(routine, keys))
  const wholeTypes = payload === null ? [] : (WHOLE[payload.kind === 'raw' ? payload.type : 'application/json'] ?? [])
  const whole = named.length > 0 ? [] : overloads.filter((routine) => isWhole(routine, wholeTypes))
  const [first, ...others] = named.length > 0 ? named : whole
  if (!first) throw none(snapshot, qualified, keys, overloads, request)
  if (others.length > 0) throw several([first, ...others])
  const [only] = first.parameters
  if (named.length === 0 && payload !== null && only)
    return { routine: first, arguments: { kind: 'whole', value: payload.kind === 'json' ? payload.text : payload.bytes, parameter: only } }
  const parameters = first.parameters.filter(({ name }) => keys.includes(name))
  if (payload?.kind === 'json') return { routine: first, arguments: { kind: 'json', json: payload.text, parameters } }
  const valuesOf = ({ name, isVariadic }: Parameter) => {
    const values = request.arguments.filter(([key]) => key === name).map(([, value]) => value)
    // One that begins as an array is the list itself.
    const isList = isVariadic && !(values.length === 1 && values[0]?.startsWith('{'))
    return isList ? values : (values.at(-1) ?? null)
  }
  return { routine: first, arguments: { kind: 'direct', of: parameters.map((parameter) => ({ parameter, value: valuesOf(parameter) })) } }
}

function takes({ parameters }: Routine, keys: readonly string[]): boolean {
  if (parameters.some(({ name }) => name === '')) return false
  return keys.every((key) => parameters.some(({ name }) => name === key)) && parameters.every(({ name, isRequired }) => !isRequired || keys.includes(name))
}

const isWhole = ({ parameters }: Routine, types: readonly string[]): boolean =>
  parameters.length === 1 && parameters[0]?.name === '' && types.includes(parameters[0].baseType)

function none(snapshot: Snapshot, { schema, name }: Qualified, keys: readonly string[], overloads: readonly Routine[], { payload }: DataRequest): DataError {
  const full = `${schema}.${name}`
  const sorted = keys.toSorted()
  const rawType = payload?.kind === 'raw' ? WHOLE[payload.type]?.[0] : undefined
  const list = rawType !== undefined ? '' : keys.length === 0 ? ' without parameters' : `(${sorted.join(', ')})`
  const searched =
    rawType !== undefined
      ? ` with a single unnamed ${rawType} parameter`
      : `${keys.length === 0 ? ' without parameters' : ` with parameter${keys.length > 1 ? 's' : ''} ${sorted.join(', ')}`}${payload === null ? '' : ' or with a single unnamed json/jsonb parameter'}`
  const hint =
    overloads.length > 0
      ? mostLike(
          `(${sorted.join(', ')})`,
          overloads.map(({ parameters }) => listOf(parameters)),
          0.33,
        )
      : mostLike(
          name,
          [...snapshot.routines.values()].flatMap(([routine]) => (routine?.schema === schema ? [routine.name] : [])),
        )
  return new DataError('PGRST202', `Could not find the function ${full}${list} in the schema cache`, {
    details: `Searched for the function ${full}${searched}, but no matches were found in the schema cache.`,
    hint: hint === null ? null : `Perhaps you meant to call the function ${overloads.length > 0 ? `${full}${hint}` : `${schema}.${hint}`}`,
  })
}

const listOf = (parameters: readonly Parameter[]) =>
  `(${parameters
    .map(({ name }) => name)
    .toSorted()
    .join(', ')})`

const several = (found: readonly Routine[]) =>
  new DataError(
    'PGRST203',
    `Could not choose the best candidate function between: ${found
      .map(({ schema, name, parameters }) => `${schema}.${name}(${parameters.map((parameter) => `${parameter.name} => ${parameter.type}`).join(', ')})`)
      .join(', ')}`,
    { hint: 'Try renaming the parameters or the function itself in the database so function overloading can be resolved' },
  )
