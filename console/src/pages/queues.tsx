import type { QueueInfo } from '../../../client/queues.ts'
import { queuesOf } from '../api.ts'
import { count, duration } from '../format.ts'
import { useLoaded } from '../load.ts'
import { Badge, Card, Page, Shown, Table } from '../parts.tsx'
import { QueueForm } from '../queue-form.tsx'
import { hrefOf } from '../route.ts'
import { t } from '../text.ts'

export const ageOf = (at: string): string => duration(Math.max(0, Date.now() - Date.parse(at)))

export function QueuesPage({ project }: { project: string }) {
  const queues = useLoaded(project, (signal) => queuesOf(project, signal).list(), 3000)
  return (
    <Page title={t('Queues')}>
      <Card title={t('Queues of this project')} wide>
        <Shown
          of={queues}
          isEmpty={(list) => list.length === 0}
          empty={<p>{t('There is no queue yet. Make one below, in a project file, or by any SQS client.')}</p>}
        >
          {(list) => (
            <Table
              label={t('Queues')}
              rows={list}
              keyOf={(queue) => queue.name}
              columns={[
                { head: t('Name'), main: true, cell: (queue) => <QueueName of={queue} project={project} /> },
                { head: t('Waiting'), number: true, cell: (queue) => count(queue.visible) },
                { head: t('In flight'), number: true, cell: (queue) => count(queue.inFlight) },
                { head: t('Delayed'), number: true, cell: (queue) => count(queue.delayed) },
                { head: t('Oldest'), number: true, cell: (queue) => (queue.oldestSentAt === null ? '–' : ageOf(queue.oldestSentAt)) },
                { head: t('Dead letters go to'), wide: true, cell: (queue) => <DeadLetter of={queue} project={project} /> },
              ]}
            />
          )}
        </Shown>
      </Card>
      <Card title={t('Make a queue')} wide>
        <Shown of={queues}>{(list) => <QueueForm project={project} others={list.map(({ name }) => name)} of={null} done={queues.again} />}</Shown>
      </Card>
    </Page>
  )
}

function QueueName({ of, project }: { of: QueueInfo; project: string }) {
  return (
    <span className="keys">
      <a href={hrefOf(project, 'queues', of.name)}>{of.name}</a>
      {of.deadLettersOf.length > 0 && (
        <Badge kind={of.visible > 0 ? 'bad' : 'plain'}>{t('dead letters of {names}', { names: of.deadLettersOf.join(', ') })}</Badge>
      )}
    </span>
  )
}

export function DeadLetter({ of, project }: { of: QueueInfo; project: string }) {
  const { deadLetter } = of.settings
  if (deadLetter === undefined) return <>{t('none')}</>
  return (
    <>
      <a href={hrefOf(project, 'queues', deadLetter.queue)}>{deadLetter.queue}</a> {t('after {n} receives', { n: count(deadLetter.maxReceives) })}
    </>
  )
}
