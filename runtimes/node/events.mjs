// Calls by event: Lambda's handlers.
import { runWithCallback } from './callbacks.mjs'
import { HandlerError } from './errors.mjs'
import { F, MAX, T } from './frames.mjs'
import { tellLost } from './logs.mjs'
import { sendBytes } from './outcomes.mjs'
import { code, finish } from './running.mjs'
import { runStream } from './streams.mjs'
import { control } from './wire.mjs'

const { parse, stringify } = JSON

function lambdaContext(call) {
  const { context } = call
  const { version } = code
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: version.functionName,
    functionVersion: version.functionVersion,
    memoryLimitInMB: String(version.memoryMb),
    logGroupName: version.logGroup,
    logStreamName: version.logStream,
    clientContext: context.clientContext === null ? undefined : parse(context.clientContext),
    identity: undefined,
    tenantId: undefined,
    invokedFunctionArn: context.invokedArn,
    awsRequestId: context.invocationId,
    getRemainingTimeInMillis: () => call.remainingMs,
  }
}

export async function runEvent(call, payload) {
  let event
  try {
    event = parse(payload.toString('utf8'))
  } catch (error) {
    throw new HandlerError('Runtime.UnmarshalError', `Unable to unmarshal input: ${error.message}`)
  }
  if (code.handler.streaming) return await runStream(call, event, lambdaContext(call))
  // By its own name in stacks, and without an object of ours as `this`.
  const { run } = code.handler
  const value = await (code.callbacks ? runWithCallback(run, event, lambdaContext(call)) : run(event, lambdaContext(call)))
  let text
  try {
    text = stringify(value === undefined ? null : value)
  } catch (error) {
    throw new HandlerError('Runtime.MarshalError', `Unable to stringify response body: ${error.message}`)
  }
  const bytes = Buffer.from(text ?? 'null')
  tellLost()
  call.answered = true
  if (bytes.length <= MAX) {
    control.send(T.result, F.fin | F.done, call.id, bytes)
    finish(call, true)
    return
  }
  control.send(T.result, 0, call.id)
  await sendBytes(call, bytes)
  control.sendData(T.end, F.fin | F.done, call.id)
  finish(call, true)
}
