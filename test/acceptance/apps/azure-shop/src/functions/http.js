const { app } = require('@azure/functions')

app.http('hello', {
  methods: ['GET', 'POST'],
  authLevel: 'anonymous',
  handler: async (request, context) => {
    context.log(`Http function processed request for url "${request.url}"`)
    const name = request.query.get('name') || (await request.text()) || 'world'
    return { body: `Hello, ${name}!` }
  },
})

app.get('product', {
  route: 'products/{category:alpha}/{id:int?}',
  handler: (request) => ({ jsonBody: request.params, headers: { 'x-from': 'product' } }),
})

app.get('newest', {
  route: 'products/newest/1',
  handler: () => ({ status: 201, body: 'newest', cookies: [{ name: 'seen', value: '1', sameSite: 'Lax' }] }),
})

app.http('files', {
  route: 'files/{*rest}',
  methods: ['PUT'],
  handler: async (request) => ({ body: `${request.params.rest}: ${(await request.arrayBuffer()).byteLength}` }),
})
app.http('kept', { authLevel: 'function', handler: () => ({ body: 'kept' }) })
app.http('managed', { authLevel: 'admin', handler: () => ({ body: 'managed' }) })
app.http('hooked', { handler: () => ({ body: 'own' }) })
app.http('nothing', { handler: () => undefined })
app.http('broken', {
  handler: () => {
    throw new Error('the shop is closed')
  },
})
