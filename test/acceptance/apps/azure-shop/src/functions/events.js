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
    if (order.id === 'bad') throw new Error('no such order')
    return { shipped: order.id }
  },
})

app.serviceBusTopic('onNews', {
  connection: 'Bus',
  topicName: 'news',
  subscriptionName: 'all',
  handler: (message, context) => {
    context.log(`heard ${message}`)
    return `news: ${message}`
  },
})
app.eventGrid('onGrid', { handler: (event) => `grid: ${event.subject}` })
app.cosmosDB('onRows', { connection: 'Cosmos', databaseName: 'd', containerName: 'c', handler: (documents) => `rows: ${documents.length}` })
app.storageQueue('forwards', {
  queueName: 'in',
  connection: 'AzureWebJobsStorage',
  return: output.storageQueue({ queueName: 'orders', connection: 'AzureWebJobsStorage' }),
  handler: (message) => message,
})

// One by its name, of each some other form of a name.
const region = output.storageQueue({ queueName: 'orders-{region}', connection: 'AzureWebJobsStorage' })
const bus = output.serviceBusQueue({ queueName: '%BUS_QUEUE%', connection: 'Bus' })
app.post('order', {
  route: 'orders/{region}',
  extraOutputs: [region, bus],
  handler: async (request, context) => {
    const orders = await request.json()
    context.extraOutputs.set(region, orders)
    context.extraOutputs.set(bus, 'ordered')
    return { body: `${orders.length} orders` }
  },
})
app.serviceBusQueue('tells', {
  connection: 'Bus',
  queueName: 'told',
  return: output.serviceBusTopic({ topicName: 'news', connection: 'Bus' }),
  extraOutputs: [output.storageQueue({ queueName: 'no.name', connection: 'AzureWebJobsStorage' })],
  handler: (message) => message,
})
