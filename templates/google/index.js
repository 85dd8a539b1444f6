const functions = require('@google-cloud/functions-framework')

functions.http('hello', (request, response) => {
  console.log(request.method, request.path)
  response.json({ hello: request.query.name ?? 'world' })
})
