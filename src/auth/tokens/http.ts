import { json } from '../../core/json-reply.ts'
import type { Project } from '../../core/project.ts'
import type { Route } from '../../core/route.ts'
import type { Tokens } from './service.ts'

/** So long clients may believe what they read: a new key is published before it signs. */
const MAX_AGE_S = 600

export const tokenRoutes = (tokens: Tokens): Route[] => [
  {
    method: 'GET',
    path: '/auth/v1/.well-known/jwks.json',
    access: 'project',
    plane: 'data-plane',
    judgesKeys: true,
    doc: "The public keys of the project's login, by which anybody can check the tokens of its users (JWKS). Asks for no key.",
    handle: async ({ project }) => {
      const reply = json(200, { keys: await tokens.signing.jwks((project as Project).ref) })
      return { ...reply, headers: { ...reply.headers, 'cache-control': `public, max-age=${MAX_AGE_S}` } }
    },
  },
]
