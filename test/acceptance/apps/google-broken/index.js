const functions = require('@google-cloud/functions-framework')

const settings = undefined
const greeting = settings.greeting

functions.http('broken', (_req, res) => {
  res.send(greeting)
})
