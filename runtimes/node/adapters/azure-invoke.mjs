// One invocation of an Azure function, in the order of Azure's own worker.
import { inputsOf, outputsOf } from './azure-bindings.mjs'
import { core } from './azure-core.mjs'

const isHttp = ({ type }) => type.toLowerCase() === 'http'

/**
 * @param one  what was registered
 * @param call  `{ id, traceId, failures, lastError }`
 * @param trigger  the trigger's own data, as the library takes it
 * @param answered  makes of the result of an HTTP function its answer, without the library; null for what only that can
 */
export async function invoke({ metadata, callback }, { id, traceId, failures, lastError }, trigger, triggerMetadata, answered = null) {
  const inputData = await inputsOf(metadata, trigger, triggerMetadata)
  const request = { invocationId: id, functionId: metadata.functionId ?? metadata.name, inputData, triggerMetadata, traceContext: traceOf(trigger, traceId) }
  // As there, only what is tried again has one.
  if (failures > 0 && metadata.retryOptions) request.retryContext = retryOf(failures, metadata.retryOptions, lastError)
  const hookData = {}
  let invocationContext
  const log = (level, category, message) => core.log(level, category, message, invocationContext, hookData)
  const coreContext = { invocationId: id, request, metadata: { name: metadata.name, bindings: metadata.bindings }, state: undefined, log }
  const model = await core.model.getInvocationModel(coreContext)
  const { context, inputs } = await model.getArguments()
  invocationContext = context
  const { appHookData } = core
  const before = { hookData, appHookData, invocationContext, inputs, functionCallback: callback }
  coreContext.state = 'preInvocationHooks'
  await core.runHooks('preInvocation', before)
  const after = { hookData, appHookData, invocationContext, inputs: before.inputs, result: null, error: null }
  coreContext.state = 'invocation'
  try {
    after.result = await model.invokeFunction(context, before.inputs, before.functionCallback)
  } catch (error) {
    after.error = error
  }
  coreContext.state = 'postInvocationHooks'
  await core.runHooks('postInvocation', after)
  if (after.error) throw after.error
  const answer = answered !== null && writesNothing(metadata) ? answered(after.result) : null
  if (answer !== null) return { answer }
  const response = await model.getResponse(context, after.result)
  await outputsOf(metadata, response, { triggerMetadata, trigger, traceId })
  return { returned: response.returnValue }
}

const writesNothing = ({ bindings }) => Object.values(bindings).every((binding) => binding.direction !== 'out' || isHttp(binding))

function retryOf(retryCount, { maxRetryCount }, lastError) {
  if (lastError === null) return { retryCount, maxRetryCount }
  return { retryCount, maxRetryCount, exception: { message: lastError.message ?? '', stackTrace: lastError.stack ?? '', source: '' } }
}

/** As the caller's headers say, else by the platform's own id: `Root=1-5759e988-bd862e3fe1be46a994272793;…`. */
function traceOf(trigger, traceId) {
  const headers = trigger?.http?.headers
  if (headers?.traceparent) return { traceParent: headers.traceparent, traceState: headers.tracestate ?? '', attributes: {} }
  const [, time, rest] = /Root=1-([0-9a-f]{8})-([0-9a-f]{24})/.exec(traceId ?? '') ?? []
  return { traceParent: time === undefined ? '' : `00-${time}${rest}-${rest.slice(-16)}-01`, traceState: '', attributes: {} }
}
