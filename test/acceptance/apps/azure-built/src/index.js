const { app } = require('@azure/functions')
const { existsSync, readdirSync } = require('node:fs')
const path = require('node:path')

const root = path.dirname(__dirname)

app.http('built', {
  handler: () => ({
    jsonBody: {
      place: path.basename(__dirname),
      price: require('@shop/price'),
      pinned: require('pinned'),
      native: readdirSync(path.join(root, 'node_modules')).filter((name) => name.startsWith('native')),
      maker: existsSync(path.join(root, 'node_modules', 'maker')),
      hidden: readdirSync(root).filter((name) => name.startsWith('.')),
    },
  }),
})
