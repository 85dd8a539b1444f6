import { invalidParameter, LambdaError, notFound } from './errors.ts'
import { functionArn } from './identifiers.ts'
import { type Call, nameOf, type Operation, pageSize, recordOf } from './operation.ts'
import { Violations } from './request.ts'
import { object, take, text } from './shapes.ts'

const DURABLE = '/2025-12-01/durable-executions/:execution'
const CALLBACK = '/2025-12-01/durable-execution-callbacks/:callback'
const PROVIDERS = '/2025-11-30/capacity-providers'
const PROVIDER = `${PROVIDERS}/:provider`
const SCALING = '/2025-11-30/functions/:name/function-scaling-config'

/**
 * What this platform has nothing of: durable executions, and capacity that a customer brings. Lists are empty, what is
 * asked for by name is not found, and what would be made is refused by name.
 */
export const absentOperations: readonly Operation[] = [
  { name: 'CheckpointDurableExecution', method: 'POST', path: `${DURABLE}/checkpoint`, status: 200, handle: noExecutionToWrite },
  { name: 'CreateCapacityProvider', method: 'POST', path: PROVIDERS, status: 202, handle: noNewProvider },
  { name: 'DeleteCapacityProvider', method: 'DELETE', path: PROVIDER, status: 202, handle: noProvider },
  { name: 'DeleteDurableExecution', method: 'DELETE', path: DURABLE, status: 202, handle: noExecution },
  { name: 'GetCapacityProvider', method: 'GET', path: PROVIDER, status: 200, handle: noProvider },
  { name: 'GetDurableExecution', method: 'GET', path: DURABLE, status: 200, handle: noExecution },
  { name: 'GetDurableExecutionHistory', method: 'GET', path: `${DURABLE}/history`, status: 200, handle: noExecution },
  { name: 'GetDurableExecutionState', method: 'GET', path: `${DURABLE}/state`, status: 200, handle: noExecutionToWrite },
  { name: 'GetFunctionScalingConfig', method: 'GET', path: SCALING, status: 200, handle: getScaling },
  { name: 'ListCapacityProviders', method: 'GET', path: PROVIDERS, status: 200, handle: listProviders },
  { name: 'ListDurableExecutionsByFunction', method: 'GET', path: '/2025-12-01/functions/:name/durable-executions', status: 200, handle: listExecutions },
  { name: 'ListFunctionVersionsByCapacityProvider', method: 'GET', path: `${PROVIDER}/function-versions`, status: 200, handle: noProvider },
  { name: 'PauseDurableExecution', method: 'POST', path: `${DURABLE}/pause`, status: 202, handle: noExecution },
  { name: 'PutFunctionScalingConfig', method: 'PUT', path: SCALING, status: 202, handle: putScaling },
  { name: 'ResumeDurableExecution', method: 'POST', path: `${DURABLE}/resume`, status: 202, handle: noExecution },
  { name: 'SendDurableExecutionCallbackFailure', method: 'POST', path: `${CALLBACK}/fail`, status: 200, handle: noCallback },
  { name: 'SendDurableExecutionCallbackHeartbeat', method: 'POST', path: `${CALLBACK}/heartbeat`, status: 200, handle: noCallback },
  { name: 'SendDurableExecutionCallbackSuccess', method: 'POST', path: `${CALLBACK}/succeed`, status: 200, handle: noCallback },
  { name: 'StopDurableExecution', method: 'POST', path: `${DURABLE}/stop`, status: 200, handle: noExecution },
  { name: 'UpdateCapacityProvider', method: 'PUT', path: PROVIDER, status: 202, handle: noProvider },
]

const cut = (value: string | undefined) => (value ?? '').slice(0, 300)

async function noExecution({ context }: Call): Promise<never> {
  throw notFound(`Durable execution not found: ${cut(context.params.execution)}`)
}

/** These two declare no ResourceNotFoundException. */
async function noExecutionToWrite({ context }: Call): Promise<never> {
  throw invalidParameter(`Durable execution not found: ${cut(context.params.execution)}`)
}

async function noCallback({ context }: Call): Promise<never> {
  throw notFound(`Callback not found: ${cut(context.params.callback)}`)
}

async function noProvider({ context }: Call): Promise<never> {
  throw notFound(`Capacity provider not found: ${cut(context.params.provider)}`)
}

async function noNewProvider(call: Call): Promise<never> {
  const violations = new Violations()
  const shape = object({ CapacityProviderName: text(140, undefined, 1), VpcConfig: object({}), PermissionsConfig: object({}) }, [
    'CapacityProviderName',
    'VpcConfig',
    'PermissionsConfig',
  ])
  take(shape, await call.body(), violations)
  violations.check()
  throw invalidParameter('Capacity providers are not supported by this version of Mayfly: functions run on the node itself.')
}

async function listProviders(call: Call): Promise<unknown> {
  const violations = new Violations()
  pageSize(call.query, violations)
  violations.check()
  return { CapacityProviders: [] }
}

async function listExecutions(call: Call): Promise<unknown> {
  const violations = new Violations()
  pageSize(call.query, violations)
  violations.check()
  await recordOf(call, nameOf(call, 'namespaced', call.query.get('Qualifier')))
  return { DurableExecutions: [] }
}

/** Of functions on capacity that a customer brings only: there is none of them. */
async function scaled(call: Call): Promise<{ readonly arn: string }> {
  const qualifier = call.query.get('Qualifier')
  if (qualifier === null) {
    const violations = new Violations()
    violations.missing('qualifier')
    violations.check()
  }
  const name = nameOf(call, 'namespaced', qualifier)
  await recordOf(call, name)
  return { arn: functionArn(call.region, name.name, name.qualifier) }
}

async function getScaling(call: Call): Promise<unknown> {
  return { FunctionArn: (await scaled(call)).arn }
}

async function putScaling(call: Call): Promise<never> {
  await scaled(call)
  throw new LambdaError('InvalidParameterValueException', 400, 'FunctionScalingConfig is supported for functions with a capacity provider only.')
}
