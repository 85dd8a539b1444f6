import { json } from '../core/json-reply.ts'
import { MayflyError } from '../core/errors.ts'
import { jsonOf } from '../core/json-body.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Reply, RequestContext, Route } from '../core/route.ts'
import { webhookName } from '../core/web-triggers.ts'
import { parseTriggers } from './definition.ts'
import type { MappedQueue } from './queue/mapped.ts'
import { HTTP_ROUTES } from './routes/http.ts'
import type { Trigger, Triggers } from './service.ts'
import { webhookPath } from './webhooks/http.ts'

export { HTTP_ROUTES, HttpRoutes, httpRoutes } from './routes/http.ts'

/** @param projectUrl  the address of a project as whoever asks from `origin` reaches it */
export const routes = (triggers: Triggers, projectUrl: (origin: string, ref: ProjectRef) => string): Route[] => [
  {
    method: 'GET',
    path: '/api/v1/projects/:ref/triggers',
    access: 'manage',
    plane: 'management',
    doc: 'Lists what starts the functions of a project, event source mappings that read its queues (`mapping`) among it.',
    handle: async (context) =>
      ok({
        triggers: [
          ...(await triggers.list(refOf(context))).map((one) => ({ function: one.function, ...shown(one, projectUrl(context.origin, refOf(context))) })),
          ...(await triggers.mapped(refOf(context))).map(shownMapping),
        ],
      }),
  },
  {
    method: 'GET',
    path: '/api/v1/projects/:ref/functions/:name/triggers',
    access: 'manage',
    plane: 'management',
    doc: 'Shows what starts a function, event source mappings that read a queue (`mapping`) among it.',
    handle: async (context) => {
      const own = await triggers.of(refOf(context), context.params.name ?? '')
      const mapped = (await triggers.mapped(refOf(context))).filter((one) => one.function === context.params.name)
      return ok({ triggers: [...own.map((one) => shown(one, projectUrl(context.origin, refOf(context)))), ...mapped.map(shownMapping)] })
    },
  },
  {
    method: 'PUT',
    path: '/api/v1/projects/:ref/functions/:name/triggers',
    access: 'manage',
    plane: 'management',
    adds: 'data',
    doc: 'Makes the triggers of a function equal to those in the body, `{"triggers":[{"object":{"bucket":"avatars","events":["created"],"prefix":["a/"],"suffix":[".jpg"]}}]}`; the same again changes nothing. `{"schedule":{"cron":"0 3 * * *","timezone":"Asia/Seoul"}}` has `nextAt`, when it is due next. `{"queue":{"name":"mail"}}` takes messages of a queue, which is made where there is none. `{"bus":{"pattern":{"detail-type":["order.placed"]}}}` takes events that are sent. `{"webhook":{"provider":"github","secret":"GITHUB_SECRET"}}` has the `address` that takes them. `{"http":{"path":"/orders/{id}","methods":["GET"]}}` answers requests at its `address`. `{"topic":{"name":"news"}}` takes the events of the bus of that name as messages of SNS. Answered when they are in force.',
    handle: async (context) => {
      const specs = parseTriggers(listOf(await context.body(LIMITS.managementBody.value)))
      const { triggers: now, changed } = await triggers.put(refOf(context), context.params.name ?? '', specs)
      return ok({
        triggers: now.map((one) => shown(one, projectUrl(context.origin, refOf(context)))),
        changed,
        warnings: await triggers.warnings(refOf(context), specs),
      })
    },
  },
]

const refOf = (context: RequestContext): ProjectRef => (context.project as Project).ref
const ok = (body: unknown): Reply => json(200, body)
const shown = ({ id, function: name, spec, nextAt, unseen, createdAt }: Trigger, url: string) => ({
  id,
  ...spec,
  // Each source of triggers has the node behind it; a mapping may be of a queue that is not there.
  started: true,
  invokedBy: null,
  ...(spec.webhook ? { address: `${url}${webhookPath(name, webhookName(spec.webhook))}` } : {}),
  ...(spec.http ? { address: `${url}${HTTP_ROUTES}${spec.http.path}` } : {}),
  ...(spec.log ? { unseen } : {}),
  ...(spec.schedule ? { nextAt: nextAt?.toISOString() ?? null } : {}),
  createdAt: createdAt.toISOString(),
})

const shownMapping = ({ modifiedAt, ...one }: MappedQueue) => ({ ...one, invokedBy: one.started ? null : 'queue', modifiedAt: modifiedAt.toISOString() })

function listOf(body: Buffer): unknown {
  const given = jsonOf(body)
  if (typeof given !== 'object' || given === null || !('triggers' in given) || Object.keys(given).length > 1)
    throw new MayflyError('bad_request', 'the body must be an object with the list `triggers` and nothing else')
  return given.triggers
}
