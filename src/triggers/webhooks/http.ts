import { json } from '../../core/json-reply.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Project } from '../../core/project.ts'
import type { Route } from '../../core/route.ts'
import { functionUrlEvent } from '../../invoke/index.ts'
import type { WebhooksIn } from './service.ts'

/** What follows the address of a project in that of a webhook. */
export const webhookPath = (functionName: string, name: string): string => `/webhooks/v1/${functionName}/${name}`

export const webhookRoutes = (deps: { readonly webhooks: WebhooksIn; readonly now: () => number }): Route[] => [
  {
    method: 'POST',
    path: '/webhooks/v1/:name/:hook',
    access: 'open',
    judgesKeys: true,
    plane: 'data-plane',
    adds: 'data',
    doc: 'Takes a webhook for the function `name`, whose trigger `hook` says how it is signed (`generic`, `standard`, `github`, `stripe`). 202 once it is on disk: `{"invocation":"…"}`, null where its event is none that is waited for, and `seen` where its delivery was taken before.',
    handle: async (context) => {
      const { name: functionName = '', hook: name = '' } = context.params
      const { invocation, seen } = await deps.webhooks.take(
        { project: context.project as Project, functionName, name },
        context.depth,
        async () => ({ rawHeaders: context.rawHeaders, body: await context.body(LIMITS.webhookBody.value), nowMs: deps.now() }),
        ({ body, nowMs }, webhook) => functionUrlEvent(context, '/', body, nowMs, null, { webhook }),
      )
      return json(202, { invocation, ...(seen ? { seen } : {}) })
    },
  },
]
