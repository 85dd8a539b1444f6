import { api } from '../api.ts'
import { count, utcDay } from '../format.ts'
import { Limits } from '../limits.tsx'
import { useLoaded } from '../load.ts'
import { Badge, Card, Failure, Page, Shown, stateKind, Table, Time } from '../parts.tsx'
import { hrefOf } from '../route.ts'
import { t } from '../text.ts'

export function FunctionsPage({ project }: { project: string }) {
  const functions = useLoaded(project, (signal) => api.functions(project, signal), 5000)
  const usage = useLoaded(project, (signal) => api.usage(project, 1, signal), 10_000)
  const today = utcDay(new Date())
  const of = (name: string) => usage.value?.usage.find((row) => row.functionName === name && row.day === today)
  return (
    <Page title={t('Functions')}>
      {usage.error !== null && <Failure error={usage.error} again={usage.again} />}
      <Card title={t('Deployed')} wide>
        <Shown
          of={functions}
          isEmpty={(list) => list.length === 0}
          empty={
            <>
              <p>{t('No function is deployed here yet. A folder becomes one:')}</p>
              <p>
                <code>npx mayfly deploy ./FOLDER</code>
              </p>
            </>
          }
        >
          {(list) => (
            <Table
              label={t('Functions')}
              rows={list}
              keyOf={(one) => one.name}
              columns={[
                { head: t('Name'), main: true, cell: (one) => <a href={hrefOf(project, 'functions', one.name)}>{one.name}</a> },
                { head: t('State'), cell: (one) => <Badge kind={stateKind(one.state)}>{one.state}</Badge> },
                { head: t('Runtime'), cell: (one) => one.runtime },
                { head: t('Memory'), number: true, cell: (one) => `${count(one.memory)} MB` },
                { head: t('Runs today'), number: true, cell: (one) => (usage.value ? count(of(one.name)?.executions ?? 0) : '…') },
                {
                  head: t('Errors today'),
                  number: true,
                  cell: (one) => {
                    const errors = of(one.name)?.errors ?? 0
                    return usage.value === null ? '…' : errors > 0 ? <Badge kind="bad">{count(errors)}</Badge> : '0'
                  },
                },
                { head: t('Changed'), cell: (one) => <Time at={String(one['modifiedAt'])} /> },
              ]}
            />
          )}
        </Shown>
      </Card>
      <Card title={t('Limits of functions')} wide>
        <Limits key={project} project={project} />
      </Card>
      <p className="small">{t('Days are those of UTC, as on the bill.')}</p>
    </Page>
  )
}
