import { json } from '../../core/json-reply.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Project } from '../../core/project.ts'
import type { Reply, RequestContext, Route } from '../../core/route.ts'
import { identityOf } from '../../core/session.ts'
import { isBusName } from '../../core/trigger-spec.ts'
import { sentEvents } from './incoming.ts'
import type { EventBus } from './service.ts'

export const busRoutes = (bus: EventBus): Route[] => [
  {
    method: 'POST',
    path: '/api/v1/projects/:ref/events',
    access: 'manage',
    plane: 'management',
    adds: 'data',
    doc: `Sends an event, \`{"detail-type":"order.placed","source":"shop","detail":{"order":7}}\` with \`id\`, \`time\` and \`resources\` if there are, or up to ${LIMITS.busEvents.value} as \`{"events":[…]}\`; or CloudEvents over HTTP, in binary, structured or batched mode. It starts the functions whose \`bus\` trigger waits for it (\`?bus=\` names another than \`default\`). 202 once all of it is on disk; an \`id\` of a \`source\` that was seen within a day starts nothing again (\`seen\`).`,
    handle: (context) => send(bus, context),
  },
  {
    method: 'POST',
    path: '/events/v1',
    access: 'project',
    plane: 'data-plane',
    adds: 'data',
    doc: 'The same by the secret key, and from inside a function of role `service_role` by its `MAYFLY_URL` and `MAYFLY_KEY`: the event knows how many functions stand before it.',
    handle: async (context) => {
      if (identityOf(context.principal).role !== 'service_role') throw new MayflyError('not_allowed', 'who sends events has the secret key')
      return await send(bus, context)
    },
  },
]

async function send(bus: EventBus, context: RequestContext): Promise<Reply> {
  const name = context.query.get('bus') ?? 'default'
  if (!isBusName(name)) throw new MayflyError('bad_request', 'bus: must be 1 to 256 letters, digits, `.`, `-` and `_`')
  const events = sentEvents(context.headers, await context.body(LIMITS.managementBody.value))
  return json(202, { events: await bus.send(context.project as Project, name, events, context.depth) })
}
