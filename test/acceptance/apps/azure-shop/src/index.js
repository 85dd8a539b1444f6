const { app } = require('@azure/functions')

app.hook.appStart(() => {
  globalThis.startedAt = Date.now()
})
app.hook.preInvocation((context) => {
  context.hookData.from = 'hook'
})
app.hook.postInvocation((context) => {
  if (context.invocationContext.functionName === 'hooked') context.result = { jsonBody: { from: context.hookData.from, said: context.result.body } }
})
app.hook.log((context) => {
  context.message = `${context.invocationContext?.functionName}: ${context.message}`
})
app.hook.appTerminate(() => {
  console.log('the shop has closed')
})
