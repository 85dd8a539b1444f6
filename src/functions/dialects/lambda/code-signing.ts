import { LambdaError } from './errors.ts'
import { type Call, nameOf, type Operation, pageSize, recordOf } from './operation.ts'
import { Violations } from './request.ts'
import { list, object, take, text } from './shapes.ts'

const OF_FUNCTION = '/2020-06-30/functions/:name/code-signing-config'
const AT = '/2020-04-22/code-signing-configs'
const ONE = `${AT}/:arn`

/** Code is not signed here: there is no configuration of it, and no function has one. */
export const codeSigningOperations: readonly Operation[] = [
  { name: 'GetFunctionCodeSigningConfig', method: 'GET', path: OF_FUNCTION, status: 200, handle: getFunctionConfig },
  { name: 'CreateCodeSigningConfig', method: 'POST', path: AT, status: 201, handle: create },
  { name: 'CreateCodeSigningConfig', method: 'POST', path: `${AT}/`, status: 201, handle: create }, // older SDKs end it with a slash
  { name: 'DeleteCodeSigningConfig', method: 'DELETE', path: ONE, status: 204, handle: absent },
  { name: 'DeleteFunctionCodeSigningConfig', method: 'DELETE', path: OF_FUNCTION, status: 204, handle: deleteFunctionConfig },
  { name: 'GetCodeSigningConfig', method: 'GET', path: ONE, status: 200, handle: absent },
  { name: 'ListCodeSigningConfigs', method: 'GET', path: AT, status: 200, handle: listAll },
  { name: 'ListCodeSigningConfigs', method: 'GET', path: `${AT}/`, status: 200, handle: listAll },
  { name: 'ListFunctionsByCodeSigningConfig', method: 'GET', path: `${ONE}/functions`, status: 200, handle: absent },
  { name: 'PutFunctionCodeSigningConfig', method: 'PUT', path: OF_FUNCTION, status: 200, handle: putFunctionConfig },
  { name: 'UpdateCodeSigningConfig', method: 'PUT', path: ONE, status: 200, handle: absent },
]

const ARN = String.raw`arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:code-signing-config:csc-[a-z0-9]{17}`
const ARN_SHAPE = text(200, ARN)
const PUBLISHERS = object({ SigningProfileVersionArns: list(text(10_000), 20, 1) }, ['SigningProfileVersionArns'])

async function getFunctionConfig(call: Call): Promise<unknown> {
  await recordOf(call, nameOf(call))
  return {} // a 404 would end a refresh of Terraform's
}

async function deleteFunctionConfig(call: Call): Promise<unknown> {
  await recordOf(call, nameOf(call))
  return null
}

async function putFunctionConfig(call: Call): Promise<unknown> {
  const violations = new Violations()
  const { CodeSigningConfigArn = '' } = take(object({ CodeSigningConfigArn: ARN_SHAPE }, ['CodeSigningConfigArn']), await call.body(), violations)
  violations.check()
  await recordOf(call, nameOf(call))
  throw new LambdaError('CodeSigningConfigNotFoundException', 404, `The code signing configuration cannot be found: ${CodeSigningConfigArn}`)
}

async function create(call: Call): Promise<unknown> {
  const violations = new Violations()
  take(object({ AllowedPublishers: PUBLISHERS, Description: text(256) }, ['AllowedPublishers']), await call.body(), violations)
  violations.check()
  throw new LambdaError('InvalidParameterValueException', 400, 'Code signing is not supported by this version of Mayfly: deploy without a configuration of it.')
}

async function absent(call: Call): Promise<unknown> {
  const arn = call.context.params.arn ?? ''
  const violations = new Violations()
  take(ARN_SHAPE, arn, violations, 'codeSigningConfigArn')
  violations.check()
  throw new LambdaError('ResourceNotFoundException', 404, `The code signing configuration cannot be found: ${arn}`)
}

async function listAll(call: Call): Promise<unknown> {
  const violations = new Violations()
  pageSize(call.query, violations)
  violations.check()
  return { CodeSigningConfigs: [] }
}
