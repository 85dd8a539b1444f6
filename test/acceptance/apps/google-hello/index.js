const functions = require('@google-cloud/functions-framework')

// The HTTP function of the quickstart.
functions.http('helloHttp', (req, res) => {
  res.send(`Hello ${req.query.name || req.body.name || 'World'}!`)
})
