import functions from '@google-cloud/functions-framework'
import { routes } from './routes.js'

// An HTTP function that is an app of its own.
functions.http('app', (req, res) => (routes[req.path] ?? routes['/'])(req, res))

// An object of Cloud Storage came or went.
functions.cloudEvent('storageEvent', (cloudEvent) => {
  const file = cloudEvent.data
  console.log(`${cloudEvent.type} ${cloudEvent.subject} in ${file.bucket}: ${file.name}, ${file.size ?? 'no'} bytes`)
  if (file.name === 'bad.txt') throw new Error('cannot read bad.txt')
  return file.name
})

// As functions were written before there were registrations.
export const backgroundEvent = (data, context) => {
  console.log(`${context.eventType} ${data.bucket}/${data.name}`)
}
