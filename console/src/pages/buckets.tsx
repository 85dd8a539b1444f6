import { api } from '../api.ts'
import { bytes } from '../format.ts'
import { useLoaded } from '../load.ts'
import { Badge, Card, Page, Shown, Table, Time } from '../parts.tsx'
import { hrefOf } from '../route.ts'
import { t } from '../text.ts'

export function BucketsPage({ project }: { project: string }) {
  const buckets = useLoaded(project, (signal) => api.buckets(project, signal), 10_000)
  return (
    <Page title={t('Buckets')}>
      <Card title={t('Buckets of this project')} wide>
        <Shown
          of={buckets}
          isEmpty={(list) => list.length === 0}
          empty={<p>{t('There is no bucket yet. A project file makes one, or `supabase.storage.createBucket(name)`.')}</p>}
        >
          {(list) => (
            <Table
              label={t('Buckets')}
              rows={list}
              keyOf={(bucket) => bucket.id}
              columns={[
                { head: t('Name'), main: true, cell: (bucket) => <a href={hrefOf(project, 'buckets', bucket.id)}>{bucket.name}</a> },
                {
                  head: t('Read by'),
                  wide: true,
                  cell: (bucket) => (bucket.public ? <Badge kind="warn">{t('anyone')}</Badge> : <Badge kind="plain">{t('whom policies allow')}</Badge>),
                },
                {
                  head: t('Largest file'),
                  number: true,
                  cell: (bucket) => (bucket.file_size_limit === null ? t('as the project') : bytes(bucket.file_size_limit)),
                },
                { head: t('Types'), wide: true, cell: (bucket) => bucket.allowed_mime_types?.join(', ') ?? t('any') },
                { head: t('Made'), cell: (bucket) => <Time at={bucket.created_at} /> },
              ]}
            />
          )}
        </Shown>
      </Card>
    </Page>
  )
}
