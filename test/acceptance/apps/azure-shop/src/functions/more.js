const { app, HttpResponse } = require('@azure/functions')

// What a function sees of its invocation.
app.http('seen', {
  methods: ['GET', 'POST'],
  handler: async (request, context) => {
    const { invocationId, functionName, traceContext, retryContext, triggerMetadata, options } = context
    context.error('an error of the shop')
    return {
      jsonBody: {
        method: request.method,
        url: request.url,
        header: request.headers.get('x-mine'),
        query: request.query.getAll('q'),
        user: request.user,
        body: request.method === 'POST' ? await request.json() : null,
        context: { invocationId, functionName, traceContext, retryContext, triggerMetadata, trigger: options.trigger.type, returned: options.return.type },
      },
    }
  },
})
app.http('answers', {
  route: 'answers/{how}',
  handler: (request) => {
    switch (request.params.how) {
      case 'class':
        return new HttpResponse({ status: 202, body: 'of the class', headers: { 'x-kind': 'class' } })
      case 'text':
        return 'a text is no answer'
      case 'empty':
        return { status: 204, body: 'nobody sees this' }
      case 'bytes':
        return { body: new Uint8Array([1, 2, 3]) }
      case 'stream':
        return { body: new Blob(['streamed']).stream(), headers: new Headers({ 'x-kind': 'stream' }) }
      default:
        return { status: 418, jsonBody: { how: 'other' }, headers: { 'Content-Type': 'application/teapot+json' } }
    }
  },
})
app.timer('flaky', {
  schedule: '%NIGHTLY%',
  retry: { strategy: 'exponentialBackoff', maxRetryCount: 2, minimumInterval: { milliseconds: 100 }, maximumInterval: { seconds: 1 } },
  handler: (_timer, context) => {
    const { retryCount, maxRetryCount } = context.retryContext ?? {}
    context.log(`try ${retryCount} of ${maxRetryCount}`)
    if (retryCount !== 2) throw new Error('the stars are not right')
  },
})
app.serviceBusQueue('onMany', {
  connection: 'Bus',
  queueName: 'many',
  cardinality: 'many',
  handler: (messages) => `${messages.length} of ${JSON.stringify(messages[0])}`,
})
app.storageBlob('again', {
  path: 'prices/again-{name}.txt',
  connection: 'AzureWebJobsStorage',
  retry: { strategy: 'fixedDelay', maxRetryCount: 2, delayInterval: { milliseconds: 0 } },
  handler: (_blob, context) => {
    const { retryCount, maxRetryCount, exception } = context.retryContext ?? {}
    const after = exception ? ` after ${exception.message}${/more\.js:\d+/.exec(exception.stackTrace)?.[0].replace('more', ' at more')}` : ''
    context.log(`${context.triggerMetadata.name}: try ${retryCount} of ${maxRetryCount}${after}`)
    if (retryCount !== 2) throw new Error('not yet')
  },
})
