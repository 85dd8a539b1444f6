const { app, input, output } = require('@azure/functions')

const copies = output.storageBlob({ path: 'copies/{name}', connection: 'AzureWebJobsStorage' })
const prices = input.storageBlob({ path: 'prices/latest.txt', connection: 'AzureWebJobsStorage' })

app.storageBlob('onPhoto', {
  path: 'photos/{name}',
  connection: 'AzureWebJobsStorage',
  extraInputs: [prices],
  return: copies,
  handler: (blob, context) => {
    context.log(`blob ${context.triggerMetadata.name}: ${blob.length} bytes, price ${context.extraInputs.get(prices)}`)
    return blob.toString().toUpperCase()
  },
})

app.timer('nightly', {
  schedule: '0 0 3 * * *',
  handler: (timer, context) => {
    context.log(`timer ${timer.isPastDue} ${typeof timer.scheduleStatus.last}`)
  },
})

app.storageQueue('onOrder', {
  queueName: 'orders',
  connection: 'AzureWebJobsStorage',
  retry: { strategy: 'fixedDelay', maxRetryCount: 2, delayInterval: { seconds: 1 } },
  handler: (order, context) => {
    context.log(`order ${order.id}, try ${context.triggerMetadata.dequeueCount}`)
    return { shipped: order.id }
  },
})

app.serviceBusTopic('onNews', { connection: 'Bus', topicName: 'news', subscriptionName: 'all', handler: (message) => `news: ${message}` })
app.eventGrid('onGrid', { handler: (event) => `grid: ${event.subject}` })
app.cosmosDB('onRows', { connection: 'Cosmos', databaseName: 'd', containerName: 'c', handler: (documents) => `rows: ${documents.length}` })
app.storageQueue('forwards', {
  queueName: 'in',
  connection: 'AzureWebJobsStorage',
  return: output.storageQueue({ queueName: 'out', connection: 'AzureWebJobsStorage' }),
  handler: (message) => message,
})
