import { createHmac } from 'node:crypto'
import { silentLog } from '../../core/log.ts'
import { MayflyError } from '../../core/errors.ts'
import { systemClock } from '../../lib/clock.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { eventSourceConformance } from '../source-conformance.ts'
import { WebhooksIn } from '../webhooks/service.ts'

const SECRET = 'a secret of some length'

eventSourceConformance({
  kind: 'webhook',
  trigger: { webhook: { provider: 'github', secret: 'GITHUB', events: ['push'] } },
  /** One delivery to each address that there may be; another kind of event comes beside it. */
  cause: async ({ databases, queue, project }, n) => {
    const webhooks = new WebhooksIn({
      control: databases.control,
      queue,
      secretsOf: async () => ({ GITHUB: SECRET }),
      newId: () => uuidv7(systemClock.now()),
      log: silentLog,
    })
    const body = Buffer.from(`{"n":${n}}`)
    const signature = `sha256=${createHmac('sha256', SECRET).update(body).digest('hex')}`
    for (const functionName of ['f', 'g', 'stays'])
      for (const event of ['push', 'issues', 'push'])
        await webhooks
          .take(
            { project, functionName, name: 'github' },
            0,
            async () => ({
              rawHeaders: ['X-Hub-Signature-256', signature, 'X-GitHub-Event', event, 'X-GitHub-Delivery', `${event} ${n}`],
              body,
              nowMs: 0,
            }),
            (request) => request.body,
          )
          .catch((error: unknown) => {
            if (!(error instanceof MayflyError && error.code === 'webhook_not_found')) throw error
          })
  },
  // It is in the queue when it is taken: nothing of it is left for the rounds.
  crashes: [],
})
