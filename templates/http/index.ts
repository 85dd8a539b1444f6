import type { FetchHandler } from '@mayfly/functions'

export default {
  async fetch(request) {
    const url = new URL(request.url)
    console.log(request.method, url.pathname)
    return Response.json({ hello: url.searchParams.get('name') ?? 'world' })
  },
} satisfies FetchHandler
