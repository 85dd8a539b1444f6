import type { FunctionRecord } from '../../service.ts'
import { invalidParameter } from './errors.ts'
import { type FunctionName, functionArn } from './identifiers.ts'
import { type Call, nameOf, type Operation, recordOf, recordOr } from './operation.ts'
import { optional, Violations } from './request.ts'

/** Reserved concurrency: how many calls of a function run at once. */
export const concurrencyOperations: readonly Operation[] = [
  { name: 'PutFunctionConcurrency', method: 'PUT', path: '/2017-10-31/functions/:name/concurrency', status: 200, handle: putFunctionConcurrency },
  { name: 'GetFunctionConcurrency', method: 'GET', path: '/2019-09-30/functions/:name/concurrency', status: 200, handle: getFunctionConcurrency },
  { name: 'DeleteFunctionConcurrency', method: 'DELETE', path: '/2017-10-31/functions/:name/concurrency', status: 204, handle: deleteFunctionConcurrency },
]

/** @throws LambdaError for a qualifier: what is reserved is the whole function's */
function wholeFunction(call: Call): FunctionName {
  const name = nameOf(call)
  if (name.qualifier !== null) {
    throw invalidParameter(
      'This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.',
    )
  }
  return name
}

async function putFunctionConcurrency(call: Call): Promise<unknown> {
  const violations = new Violations()
  const reserved = optional<number>(await call.body(), 'ReservedConcurrentExecutions', 'number')
  if (reserved === null) violations.missing('reservedConcurrentExecutions')
  violations.range('reservedConcurrentExecutions', reserved, 0, MAX_INTEGER)
  violations.check()
  const name = wholeFunction(call)
  // Of all operations without a qualifier this one alone, beside Invoke, tells the version that is not there.
  const { id } = await recordOr(call, name, `Function not found: ${functionArn(call.region, name.name, '$LATEST')}`)
  await call.concurrency.reserve(call.project, id, reserved)
  return { ReservedConcurrentExecutions: reserved }
}

const MAX_INTEGER = 2_147_483_647

async function getFunctionConcurrency(call: Call): Promise<unknown> {
  return await reservedOf(call, await recordOf(call, wholeFunction(call)))
}

/** The member `Concurrency` of GetFunction; empty where nothing is reserved. */
export async function reservedOf(call: Call, record: FunctionRecord): Promise<{ ReservedConcurrentExecutions?: number }> {
  const reserved = await call.concurrency.reservedOf(record.id)
  return reserved === null ? {} : { ReservedConcurrentExecutions: reserved }
}

async function deleteFunctionConcurrency(call: Call): Promise<unknown> {
  const { id } = await recordOf(call, wholeFunction(call))
  await call.concurrency.reserve(call.project, id, null)
  return null
}
