import { LIMIT_PROFILES } from '../../../core/limit-profiles.ts'
import { LIMITS } from '../../../core/limits.ts'
import type { RecursiveLoop, RuntimeManagement } from '../../settings/types.ts'
import { invalidParameter } from './errors.ts'
import { functionArn } from './identifiers.ts'
import { type Call, nameOf, type Operation, recordOf, settable } from './operation.ts'
import { Violations } from './request.ts'
import { choice, object, take, text } from './shapes.ts'

const RECURSION = '/2024-08-31/functions/:name/recursion-config'
const RUNTIME = '/2021-07-20/functions/:name/runtime-management-config'
const ACCOUNT = '/2016-08-19/account-settings'

/** What is set for a function beside its configuration, and what is said of the project as an account. */
export const settingOperations: readonly Operation[] = [
  { name: 'GetAccountSettings', method: 'GET', path: ACCOUNT, status: 200, handle: getAccountSettings },
  { name: 'GetAccountSettings', method: 'GET', path: `${ACCOUNT}/`, status: 200, handle: getAccountSettings }, // older SDKs end it with a slash
  { name: 'GetFunctionRecursionConfig', method: 'GET', path: RECURSION, status: 200, handle: getRecursion },
  { name: 'PutFunctionRecursionConfig', method: 'PUT', path: RECURSION, status: 200, handle: putRecursion },
  { name: 'GetRuntimeManagementConfig', method: 'GET', path: RUNTIME, status: 200, handle: getRuntimeManagement },
  { name: 'PutRuntimeManagementConfig', method: 'PUT', path: RUNTIME, status: 200, handle: putRuntimeManagement },
]

export const RECURSION_CONFIG = object({ RecursiveLoop: choice('Allow', 'Terminate') }, ['RecursiveLoop'])
export const RUNTIME_MANAGEMENT = object(
  {
    UpdateRuntimeOn: choice('Auto', 'Manual', 'FunctionUpdate'),
    RuntimeVersionArn: text(2048, String.raw`(arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}::runtime:.+)`, 26),
  },
  ['UpdateRuntimeOn'],
)

const UNQUALIFIED = String.raw`(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)`

/** What AWS grants an account. */
const TOTAL_CODE_BYTES = 80_530_636_800

async function getAccountSettings(call: Call): Promise<unknown> {
  const { functions, codeBytes } = await call.settings.codeUsage(call.project)
  const { concurrent, unreserved } = await call.concurrency.account(call.project)
  return {
    AccountLimit: {
      TotalCodeSize: TOTAL_CODE_BYTES,
      CodeSizeUnzipped: LIMITS.unzippedCode.value,
      CodeSizeZipped: LIMITS.zippedCode.value,
      ConcurrentExecutions: concurrent,
      UnreservedConcurrentExecutions: unreserved,
    },
    LimitProfile: profileOf(call),
    AccountUsage: { TotalCodeSize: codeBytes, FunctionCount: functions },
  }
}

/** A member of Mayfly's own, which clients of AWS pass over. */
function profileOf({ functions, project }: Call) {
  const name = functions.limitProfileOf(project)
  const { memory, timeout, tmp, queuedPayload } = LIMIT_PROFILES[name]
  return { Name: name, MaxMemorySize: memory.most, MaxTimeout: timeout.most, MaxEphemeralStorage: tmp.most, MaxEventBytes: queuedPayload }
}

/** Of the function as a whole: a qualifier says nothing here. */
async function whole(call: Call) {
  const name = nameOf(call)
  if (name.qualifier !== null) {
    const violations = new Violations()
    violations.add('functionName', call.context.params.name, `Member must satisfy regular expression pattern: ${UNQUALIFIED}`)
    violations.check()
  }
  return { name, record: await recordOf(call, name) }
}

async function getRecursion(call: Call): Promise<unknown> {
  const { record } = await whole(call)
  return { RecursiveLoop: await call.settings.loop(record.id) }
}

async function putRecursion(call: Call): Promise<unknown> {
  const body = await call.body()
  const violations = new Violations()
  const { RecursiveLoop } = take(RECURSION_CONFIG, body, violations)
  violations.check()
  const { name, record } = await whole(call)
  await call.settings.setLoop(call.project, settable(record, name), RecursiveLoop as RecursiveLoop)
  return { RecursiveLoop }
}

async function getRuntimeManagement(call: Call): Promise<unknown> {
  const name = nameOf(call, 'namespaced', call.query.get('Qualifier'))
  const record = await recordOf(call, name)
  return shown(functionArn(call.region, name.name, name.qualifier), await call.settings.runtimeManagement(record.id, name.qualifier ?? '$LATEST'))
}

async function putRuntimeManagement(call: Call): Promise<unknown> {
  const name = nameOf(call, 'namespaced', call.query.get('Qualifier'))
  const body = await call.body()
  const violations = new Violations()
  const { UpdateRuntimeOn, RuntimeVersionArn = null } = take(RUNTIME_MANAGEMENT, body, violations)
  violations.check()
  if ((UpdateRuntimeOn === 'Manual') !== (RuntimeVersionArn !== null))
    throw invalidParameter('RuntimeVersionArn must be given when UpdateRuntimeOn is Manual, and only then.')
  const record = await recordOf(call, name)
  const wanted: RuntimeManagement = { updateOn: UpdateRuntimeOn as RuntimeManagement['updateOn'], runtimeVersionArn: RuntimeVersionArn }
  await call.settings.setRuntimeManagement(call.project, settable(record, name), wanted)
  return shown(functionArn(call.region, name.name, name.qualifier), wanted)
}

const shown = (arn: string, { updateOn, runtimeVersionArn }: RuntimeManagement) => ({
  UpdateRuntimeOn: updateOn,
  FunctionArn: arn,
  ...(runtimeVersionArn === null ? {} : { RuntimeVersionArn: runtimeVersionArn }),
})
