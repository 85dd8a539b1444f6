const { app } = require('@azure/functions')

app.http('hello', {
  methods: ['GET', 'POST'],
  route: 'hello/{name?}',
  authLevel: 'anonymous',
  handler: async (request, context) => {
    const name = request.params.name ?? (await request.text()) ?? ''
    context.log(`hello to ${name}`)
    return { body: `Hello, ${name || 'world'}!` }
  },
})
