import { LIMITS } from '../../../core/limits.ts'
import type { PolicyDocument, PolicyStatement } from '../../settings/types.ts'
import { invalidParameter, LambdaError, notFound } from './errors.ts'
import { type FunctionName, functionArn, parseFunctionName } from './identifiers.ts'
import { type Call, nameOf, type Operation, recordOf, recordOr, revisionOf, settable, withRevision } from './operation.ts'
import { Violations } from './request.ts'
import { ANY_ARN, choice, flag, object, type Of, take, text } from './shapes.ts'

const AT = '/2015-03-31/functions/:name/policy'
const WHOLE = '/2026-07-09/resource-policy/:resource'

/** Who may call a function, a document for each qualifier. */
export const policyOperations: readonly Operation[] = [
  { name: 'AddPermission', method: 'POST', path: AT, status: 201, handle: addPermission },
  { name: 'GetPolicy', method: 'GET', path: AT, status: 200, handle: getPolicy },
  { name: 'RemovePermission', method: 'DELETE', path: `${AT}/:statement`, status: 204, handle: removePermission },
  { name: 'DeleteResourcePolicy', method: 'DELETE', path: WHOLE, status: 204, handle: deleteResourcePolicy },
  { name: 'GetResourcePolicy', method: 'GET', path: WHOLE, status: 200, handle: getResourcePolicy },
  { name: 'PutResourcePolicy', method: 'PUT', path: WHOLE, status: 200, handle: putResourcePolicy },
]

export const ADD_PERMISSION = object(
  {
    StatementId: text(100, '([a-zA-Z0-9-_]+)', 1),
    Action: text(10_000, '(lambda:[*]|lambda:[a-zA-Z]+|[*])'),
    Principal: text(2048, String.raw`[^\s]+`),
    SourceArn: text(10_000, ANY_ARN),
    FunctionUrlAuthType: choice('NONE', 'AWS_IAM'),
    InvokedViaFunctionUrl: flag,
    SourceAccount: text(12, String.raw`\d{12}`),
    EventSourceToken: text(256, String.raw`[a-zA-Z0-9._\-]+`),
    RevisionId: text(256),
    PrincipalOrgID: text(34, 'o-[a-z0-9]{10,32}', 12),
  },
  ['StatementId', 'Action', 'Principal'],
)
export const PUT_RESOURCE_POLICY = object(
  { Policy: text(20_480, String.raw`[\s\S]+`, 1), RevisionId: text(36, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', 36) },
  ['Policy'],
)
const RESOURCE_PATTERN = String.raw`arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:function:[a-zA-Z0-9-_]+(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?`

const ABSENT = 'The resource you requested does not exist.'

/** The function, version or alias whose policy is meant. */
function named(call: Call): FunctionName {
  const name = nameOf(call, 'namespaced', call.query.get('Qualifier'))
  if (name.qualifier?.startsWith('$LATEST')) throw invalidParameter('We currently do not support adding policies for $LATEST.')
  return name
}

async function addPermission(call: Call): Promise<unknown> {
  const body = await call.body()
  const violations = new Violations()
  const wanted = take(ADD_PERMISSION, body, violations)
  violations.check()
  const name = named(call)
  const made = statement(wanted, functionArn(call.region, name.name, name.qualifier))
  await changed(call, name, wanted.RevisionId ?? null, (before) => {
    if (before?.Statement.some(({ Sid }) => Sid === made.Sid)) {
      const message = `The statement id (${made.Sid}) provided already exists. Please provide a new statement id, or remove the existing statement.`
      throw new LambdaError('ResourceConflictException', 409, message)
    }
    return within({ Version: '2012-10-17', Id: 'default', ...before, Statement: [...(before?.Statement ?? []), made] })
  })
  return { Statement: JSON.stringify(made) }
}

async function getPolicy(call: Call): Promise<unknown> {
  const name = named(call)
  const record = await recordOr(call, name, ABSENT)
  const document = await call.settings.policy(record.id, name.qualifier ?? '$LATEST')
  if (!document) throw notFound(ABSENT)
  return { Policy: JSON.stringify(document), RevisionId: await revisionOf(call, name) }
}

async function removePermission(call: Call): Promise<unknown> {
  const name = named(call)
  const sid = call.context.params.statement ?? ''
  const violations = new Violations()
  take(text(100, '([a-zA-Z0-9-_.]+)', 1), sid, violations, 'statementId')
  violations.check()
  const arn = functionArn(call.region, name.name, name.qualifier)
  await recordOr(call, name, `No policy found for: ${arn}`)
  await changed(call, name, call.query.get('RevisionId'), (before) => {
    if (before === null) throw notFound('No policy is associated with the given resource.')
    const left = before.Statement.filter(({ Sid }) => Sid !== sid)
    if (left.length === before.Statement.length) throw notFound(`Statement ${sid} is not found in resource policy.`)
    return left.length === 0 ? null : { ...before, Statement: left }
  })
  return null
}

/** One statement as AWS builds it: the order of its members is what tools compare, and each value of a condition is a text. */
export function statement(wanted: Of<typeof ADD_PERMISSION>, resource: string): PolicyStatement {
  const { Action = '', StatementId = '' } = wanted
  if (wanted.FunctionUrlAuthType !== undefined && Action !== 'lambda:InvokeFunctionUrl')
    throw invalidParameter('FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action')
  const equals = {
    ...(wanted.SourceAccount === undefined ? {} : { 'AWS:SourceAccount': wanted.SourceAccount }),
    ...(wanted.EventSourceToken === undefined ? {} : { 'lambda:EventSourceToken': wanted.EventSourceToken }),
    ...(wanted.PrincipalOrgID === undefined ? {} : { 'aws:PrincipalOrgID': wanted.PrincipalOrgID }),
    ...(wanted.FunctionUrlAuthType === undefined ? {} : { 'lambda:FunctionUrlAuthType': wanted.FunctionUrlAuthType }),
  }
  const condition = {
    ...(Object.keys(equals).length === 0 ? {} : { StringEquals: equals }),
    ...(wanted.InvokedViaFunctionUrl === undefined ? {} : { Bool: { 'lambda:InvokedViaFunctionUrl': String(wanted.InvokedViaFunctionUrl) } }),
    ...(wanted.SourceArn === undefined ? {} : { ArnLike: { 'AWS:SourceArn': wanted.SourceArn } }),
  }
  return {
    Sid: StatementId,
    Effect: 'Allow',
    Principal: principal(wanted.Principal ?? ''),
    Action,
    Resource: resource,
    ...(Object.keys(condition).length === 0 ? {} : { Condition: condition }),
  }
}

function principal(given: string): PolicyStatement['Principal'] {
  if (given === '*') return '*'
  if (/^\d{12}$/.test(given)) return { AWS: `arn:aws:iam::${given}:root` }
  if (/^arn:(aws[a-zA-Z-]*):(iam|sts)::\d{12}:./.test(given)) return { AWS: given }
  if (/^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(given)) return { Service: given }
  throw invalidParameter('The provided principal was invalid. Please check the principal and try again.')
}

async function getResourcePolicy(call: Call): Promise<unknown> {
  const name = resourceOf(call)
  const record = await recordOf(call, name)
  const document = await call.settings.policy(record.id, name.qualifier ?? '$LATEST')
  if (!document) throw notFound(ABSENT)
  return { Policy: JSON.stringify(document), RevisionId: await revisionOf(call, name) }
}

async function putResourcePolicy(call: Call): Promise<unknown> {
  const body = await call.body()
  const violations = new Violations()
  const { Policy = '', RevisionId = null } = take(PUT_RESOURCE_POLICY, body, violations)
  violations.check()
  const document = within(parsePolicy(Policy))
  const { revisionId } = await changed(call, resourceOf(call), RevisionId, () => document)
  return { Policy: JSON.stringify(document), RevisionId: revisionId }
}

async function deleteResourcePolicy(call: Call): Promise<unknown> {
  await changed(call, resourceOf(call), call.query.get('RevisionId'), (before) => {
    if (before === null) throw notFound(ABSENT)
    return null
  })
  return null
}

function resourceOf(call: Call): FunctionName {
  const resource = call.context.params.resource ?? ''
  if (!new RegExp(`^${RESOURCE_PATTERN}$`).test(resource)) {
    const violations = new Violations()
    violations.add('resourceArn', resource, `Member must satisfy regular expression pattern: ${RESOURCE_PATTERN}`)
    violations.check()
  }
  return parseFunctionName(resource, { region: call.region, kind: 'control' })
}

/** @throws LambdaError InvalidParameterValueException naming what is wrong */
export function parsePolicy(source: string): PolicyDocument {
  const wrong = (why: string) => invalidParameter(`The policy is not valid: ${why}`)
  let value: unknown
  try {
    value = JSON.parse(source)
  } catch {
    throw wrong('it is not JSON.')
  }
  if (!isObject(value)) throw wrong('it is not a JSON object.')
  if (value.Version !== '2012-10-17' && value.Version !== '2008-10-17') throw wrong('Version must be 2012-10-17.')
  const statements = Array.isArray(value.Statement) ? (value.Statement as unknown[]) : [value.Statement]
  for (const one of statements) {
    if (!isObject(one)) throw wrong('each Statement must be an object.')
    if (one.Effect !== 'Allow' && one.Effect !== 'Deny') throw wrong('Effect must be Allow or Deny.')
    if (one.Principal !== '*' && !(isObject(one.Principal) && Object.values(one.Principal).every(isTexts)))
      throw wrong('Principal must be * or name texts by their kinds.')
    if (!isTexts(one.Action)) throw wrong('Action must be a text or a list of texts.')
    const conditions = one.Condition ?? {}
    if (!isObject(conditions) || !Object.values(conditions).every((each) => isObject(each) && Object.values(each).every(isTexts)))
      throw wrong('Condition must hold texts by key and operator.')
  }
  const sids = statements.map((one) => (one as PolicyStatement).Sid).filter((sid) => sid !== undefined)
  if (new Set(sids).size !== sids.length) throw wrong('two statements have the same Sid.')
  return { ...(value as unknown as PolicyDocument), Statement: statements as PolicyStatement[] }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
const isTexts = (value: unknown) => typeof value === 'string' || (Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string'))

function within(document: PolicyDocument): PolicyDocument {
  const bytes = Buffer.byteLength(JSON.stringify(document))
  const most = LIMITS.policyBytes.value
  if (bytes > most) throw new LambdaError('PolicyLengthExceededException', 400, `The final policy size (${bytes}) is bigger than the limit (${most}).`)
  return document
}

async function changed(call: Call, name: FunctionName, revisionId: string | null, change: (before: PolicyDocument | null) => PolicyDocument | null) {
  const record = await recordOf(call, name)
  return await withRevision('GetPolicy', () => call.settings.changePolicy(call.project, settable(record, name), revisionId, change))
}
