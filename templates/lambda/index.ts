import type { HttpEvent, HttpHandler } from '@mayfly/functions'

const bodyOf = (event: HttpEvent) => (event.isBase64Encoded ? atob(event.body ?? '') : (event.body ?? ''))

export const handler: HttpHandler = async (event, context) => {
  const { method, path } = event.requestContext.http
  console.log(method, path, context.awsRequestId)
  return {
    statusCode: 200,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ method, path, query: event.queryStringParameters ?? {}, body: bodyOf(event) }),
  }
}
