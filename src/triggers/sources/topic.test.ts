import { noCrash } from '../../core/crash.ts'
import { systemClock } from '../../lib/clock.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { EventBus } from '../bus/service.ts'
import { eventSourceConformance } from '../source-conformance.ts'

eventSourceConformance({
  kind: 'topic',
  trigger: { topic: { name: 'news' } },
  cause: async ({ databases, queue, project }, n) => {
    const bus = new EventBus({
      control: databases.control,
      queue,
      loopers: async () => new Set(),
      newId: () => uuidv7(systemClock.now()),
      region: 'us-east-1',
      crash: noCrash,
      clock: systemClock,
    })
    const event = { id: null, source: 'test', time: null, resources: [], cloudevent: null }
    await bus.send(project, 'news', [{ ...event, detailType: 'happened', detail: { n } }], 0)
    await bus.send(project, 'default', [{ ...event, detailType: 'happened', detail: { n } }], 0)
  },
  // It is in the queue when it is sent: nothing of it is left for the rounds.
  crashes: [],
})
