import { type Call, nameOf, type Operation, recordOf } from './operation.ts'

/** Code is not signed here: no function has a configuration of it. */
export const codeSigningOperations: readonly Operation[] = [
  {
    name: 'GetFunctionCodeSigningConfig',
    method: 'GET',
    path: '/2020-06-30/functions/:name/code-signing-config',
    status: 200,
    handle: getFunctionCodeSigningConfig,
  },
]

async function getFunctionCodeSigningConfig(call: Call): Promise<unknown> {
  await recordOf(call, nameOf(call))
  return {} // a 404 would end a refresh of Terraform's
}
