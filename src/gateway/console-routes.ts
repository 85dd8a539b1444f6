import type { Route } from '../core/route.ts'
import { json } from '../core/json-reply.ts'

export interface ConsoleRoutesDeps {
  /** A fresh one-time address of the console. */
  readonly login: () => Promise<string>
  readonly endAll: () => Promise<number>
  readonly audit: (what: string) => void
}

/** Who may come into the console: the operator's to say. Signing in and out is done at the console's own door. */
export const consoleRoutes = (deps: ConsoleRoutesDeps): Route[] => [
  {
    method: 'POST',
    path: '/api/v1/console-logins',
    access: 'operator',
    plane: 'management',
    doc: 'Gives an address of the console (`url`) that signs in whoever opens it first: valid once and for 15 minutes.',
    handle: async () => {
      const url = await deps.login()
      deps.audit('a login code was issued')
      return { ...json(201, { url }), headers: { 'content-type': 'application/json', 'cache-control': 'no-store' } }
    },
  },
  {
    method: 'DELETE',
    path: '/api/v1/console-sessions',
    access: 'operator',
    plane: 'management',
    doc: 'Signs everybody out of the console and forgets every code that was not used yet.',
    handle: async () => {
      const ended = await deps.endAll()
      deps.audit('all sessions of the console were ended')
      return json(200, { ended })
    },
  },
]
