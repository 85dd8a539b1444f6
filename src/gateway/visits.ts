import type { ProjectRef } from '../core/project.ts'
import type { Reply, Route } from '../core/route.ts'

/** May who is signed in to the console use this row? The management API, and of the data plane what lies in storage. */
export function isForVisitors(route: Route, ref: ProjectRef | null): boolean {
  if (route.plane === 'management') return ref === null && route.path.startsWith('/api/v1/')
  return isStorage(route) && ref !== null && route.access !== 'aws'
}
const isStorage = (route: Route) => route.plane === 'data-plane' && route.path.startsWith('/storage/v1/')

/** On everything that the console's origin answers. */
export const CONSOLE_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'x-frame-options': 'DENY',
  'permissions-policy': 'camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()',
}

const INERT = "sandbox; default-src 'none'"
/** What a row says for other origins, or of cookies, is not for this one. */
const DROPPED = /^(set-cookie|clear-site-data|strict-transport-security|public-key-pins|refresh|link|access-control-.*|cache-control|content-security-policy)$/i

/** A reply of the route table as the console's origin may give it: nothing in it runs there, whatever a user has stored. */
export function forVisitors(reply: Reply, route: Route | null): Reply {
  const headers: Record<string, string | readonly string[]> = {}
  let disposition = ''
  for (const [name, value] of Object.entries(reply.headers ?? {})) {
    if (name.toLowerCase() === 'content-disposition') disposition = String(value)
    else if (!DROPPED.test(name)) headers[name.toLowerCase()] = value
  }
  Object.assign(headers, CONSOLE_HEADERS, { 'content-security-policy': INERT, 'cache-control': 'no-store' })
  // A file name stays; how it is shown is not the file's to say.
  if (route !== null && isStorage(route)) headers['content-disposition'] = `attachment${/;.*/s.exec(disposition)?.[0] ?? ''}`
  return { ...reply, headers }
}
