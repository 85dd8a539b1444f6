import { z } from 'zod'
import { MayflyError } from '../../core/errors.ts'
import { jsonOf } from '../../core/json-body.ts'
import { json } from '../../core/json-reply.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Project } from '../../core/project.ts'
import type { Route } from '../../core/route.ts'
import type { BuildRequest } from './request.ts'
import type { AppBuilds } from './service.ts'

const PACKAGE = /^(@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*$/

const requestSchema = z.strictObject({
  artefact: z.string().regex(/^[0-9a-f]{64}$/, { error: 'must be the SHA-256 of an uploaded artefact' }),
  framework: z.enum(['google', 'azure'], { error: 'must be `google` or `azure`' }),
  runtime: z
    .string()
    .regex(/^nodejs\d+\.x$/, { error: 'must be a Node runtime, such as `nodejs24.x`' })
    .default('nodejs24.x'),
  handler: z.string().regex(/^\S{1,128}$/, { error: 'must be 1 to 128 characters without spaces' }),
  environment: z.record(z.string(), z.string()).default({}),
  installScripts: z
    .array(z.string().regex(PACKAGE, { error: 'must be names of packages' }))
    .max(50)
    .default([]),
  registries: z
    .array(
      z.strictObject({
        scope: z
          .string()
          .regex(/^@[a-z0-9-][a-z0-9._-]{0,100}$/i, { error: 'must be a scope such as `@shop`' })
          .nullable(),
        url: z
          .string()
          .max(1_000)
          .regex(/^https?:\/\/[^\s@?#\\]+$/, { error: 'must be the address of a registry, without credentials' }),
        authorization: z
          .string()
          .max(8_000)
          .regex(/^(Bearer|Basic) [!-~]+$/, { error: 'must be what a header says' })
          .nullable(),
      }),
    )
    .max(20)
    .default([]),
  legacyPeerDeps: z.boolean().default(false),
  run: z
    .array(z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9:._-]{0,63}$/, { error: 'must be names of scripts' }))
    .max(10)
    .default([]),
})

/** @throws MayflyError bad_request */
function parseRequest(body: Buffer): BuildRequest {
  const value = jsonOf(body)
  const parsed = requestSchema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new MayflyError('bad_request', parsed.error.issues.map((issue) => `${issue.path.map(String).join('.')}: ${issue.message}`).join('; '))
}

export const buildRoutes = (builds: AppBuilds): Route[] => [
  {
    adds: 'data',
    method: 'POST',
    path: '/api/v1/projects/:ref/builds',
    access: 'manage',
    plane: 'management',
    doc: "Makes of an uploaded app of another cloud's framework an artefact that runs: installs its packages in a sandbox, and tells what it registers.",
    handle: async (context) => {
      const request = parseRequest(await context.body(LIMITS.managementBody.value))
      return json(200, await builds.build((context.project as Project).ref, request))
    },
  },
]
