import { type DragEvent, useRef, useState } from 'react'
import { api, keyPath, type ListedObject, type Session } from '../api.ts'
import { bytes, count } from '../format.ts'
import { useLoaded } from '../load.ts'
import { Badge, Card, Confirm, CopyButton, Failure, Page, Shown, Table, Time } from '../parts.tsx'
import { isPicture, PictureDialog, Preview } from '../preview.tsx'
import { hrefOf } from '../route.ts'
import { t } from '../text.ts'
import { Uploads, useUploads } from '../uploads.tsx'
import { projectUrl } from './overview.tsx'

const PAGE = 100

export function BucketPage({ project, session, bucket, folder }: { project: string; session: Session; bucket: string; folder: readonly string[] }) {
  const prefix = folder.map((part) => `${part}/`).join('')
  const [limit, setLimit] = useState(PAGE)
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const [removing, setRemoving] = useState<readonly string[] | null>(null)
  const [opened, setOpened] = useState<ListedObject | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [over, setOver] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  const about = useLoaded(`${project}/${bucket}`, (signal) => api.bucket(project, bucket, signal))
  const list = useLoaded(
    `${project}/${bucket}/${prefix}/${limit}`,
    (signal) => api.objects(project, bucket, prefix.replace(/\/$/, ''), limit + 1, 0, signal),
    5000,
  )
  const uploads = useUploads(project, bucket, prefix, list.again)
  const isPublic = about.value?.public ?? false
  const urlOf = (name: string) => `${projectUrl(session, project)}/storage/v1/object/public/${encodeURIComponent(bucket)}/${keyPath(prefix + name)}`

  const download = async (one: ListedObject) => {
    setError(null)
    try {
      const url = URL.createObjectURL(await api.object(project, bucket, prefix + one.name, null))
      const link = document.createElement('a')
      link.href = url
      link.download = one.name
      link.click()
      setTimeout(() => URL.revokeObjectURL(url), 10_000)
    } catch (failed) {
      setError(failed)
    }
  }
  const dropped = (event: DragEvent) => {
    event.preventDefault()
    setOver(false)
    uploads.add([...event.dataTransfer.files])
  }
  const choose = (name: string, on: boolean) => {
    const next = new Set(chosen)
    if (on) next.add(name)
    else next.delete(name)
    setChosen(next)
  }
  return (
    <section
      className={over ? 'drop over' : 'drop'}
      aria-label={t('Bucket {name}', { name: bucket })}
      onDragOver={(event) => {
        if (!event.dataTransfer.types.includes('Files')) return
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave={(event) => !event.currentTarget.contains(event.relatedTarget as Node | null) && setOver(false)}
      onDrop={dropped}
    >
      <Page
        title={folder.at(-1) ?? bucket}
        over={
          <p className="over">
            <a href={hrefOf(project, 'buckets')}>{t('Buckets')}</a> /{' '}
            {folder.length > 0 && (
              <>
                <a href={hrefOf(project, 'buckets', bucket)}>{bucket}</a> /{' '}
              </>
            )}
            {folder.slice(0, -1).map((part, place) => (
              <span key={folder.slice(0, place + 1).join('/')}>
                <a href={hrefOf(project, 'buckets', bucket, ...folder.slice(0, place + 1))}>{part}</a> /{' '}
              </span>
            ))}
          </p>
        }
        actions={
          <>
            {about.value && <Badge kind={isPublic ? 'warn' : 'plain'}>{isPublic ? t('public: anyone may read') : t('private')}</Badge>}
            <input
              ref={input}
              type="file"
              multiple
              hidden
              aria-label={t('Files to upload')}
              onChange={(event) => {
                uploads.add([...(event.target.files ?? [])])
                event.target.value = ''
              }}
            />
            <button type="button" className="primary" onClick={() => input.current?.click()}>
              {t('Upload')}
            </button>
          </>
        }
      >
        {about.error !== null && <Failure error={about.error} again={about.again} />}
        {error !== null && <Failure error={error} />}
        <Uploads of={uploads} />
        <Card
          title={t('Objects')}
          wide
          actions={
            <button type="button" className="danger" disabled={chosen.size === 0} onClick={() => setRemoving([...chosen])}>
              {t('Delete {n} chosen', { n: count(chosen.size) })}
            </button>
          }
        >
          <Shown of={list} isEmpty={(objects) => objects.length === 0} empty={<p>{t('Nothing is here. Drag files onto this page, or press Upload.')}</p>}>
            {(objects) => (
              <>
                <Table
                  label={t('Objects')}
                  rows={objects.slice(0, limit)}
                  keyOf={(one) => `${one.id === null ? 'folder' : 'object'} ${one.name}`}
                  columns={[
                    {
                      head: t('Name'),
                      main: true,
                      cell: (one) =>
                        one.id === null ? (
                          <a className="object" href={hrefOf(project, 'buckets', bucket, ...folder, one.name)}>
                            <span className="thumb">
                              <svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
                                <path d="M3 6h7l2 2h9v11H3z" />
                              </svg>
                            </span>
                            {one.name}/
                          </a>
                        ) : (
                          <span className="object">
                            <input
                              type="checkbox"
                              aria-label={t('Choose {name}', { name: one.name })}
                              checked={chosen.has(one.name)}
                              onChange={(event) => choose(one.name, event.target.checked)}
                            />
                            <Preview key={one.updated_at} project={project} bucket={bucket} object={one} objectKey={prefix + one.name} />
                            {isPicture(one) ? (
                              <button type="button" className="link" onClick={() => setOpened(one)}>
                                {one.name}
                              </button>
                            ) : (
                              <span>{one.name}</span>
                            )}
                          </span>
                        ),
                    },
                    { head: t('Size'), number: true, cell: (one) => (one.metadata?.size === undefined ? '' : bytes(one.metadata.size)) },
                    { head: t('Type'), cell: (one) => one.metadata?.mimetype ?? t('folder') },
                    { head: t('Changed'), cell: (one) => (one.updated_at === null ? '' : <Time at={one.updated_at} />) },
                    {
                      head: t('Actions'),
                      buttons: true,
                      cell: (one) =>
                        one.id !== null && (
                          <span className="actions">
                            <button type="button" aria-label={t('Download {name}', { name: one.name })} onClick={() => void download(one)}>
                              {t('Download')}
                            </button>
                            {isPublic && (
                              <CopyButton text={urlOf(one.name)} label={t('Copy the public URL of {name}', { name: one.name })}>
                                {t('Copy URL')}
                              </CopyButton>
                            )}
                            <button
                              type="button"
                              className="danger"
                              aria-label={t('Delete {name}', { name: one.name })}
                              onClick={() => setRemoving([one.name])}
                            >
                              {t('Delete')}
                            </button>
                          </span>
                        ),
                    },
                  ]}
                />
                {objects.length > limit && (
                  <button type="button" onClick={() => setLimit(limit + PAGE)}>
                    {t('Show more')}
                  </button>
                )}
              </>
            )}
          </Shown>
        </Card>
      </Page>
      {opened && (
        <PictureDialog
          project={project}
          bucket={bucket}
          objectKey={prefix + opened.name}
          object={opened}
          publicUrl={isPublic ? urlOf(opened.name) : null}
          download={() => void download(opened)}
          close={() => setOpened(null)}
        />
      )}
      {removing && (
        <Confirm
          title={removing.length === 1 ? t('Delete {name}?', { name: removing[0] ?? '' }) : t('Delete {n} objects?', { n: count(removing.length) })}
          text={<p>{t('This cannot be taken back.')}</p>}
          act={t('Delete')}
          run={async () => {
            await api.removeObjects(
              project,
              bucket,
              removing.map((name) => prefix + name),
            )
            setChosen(new Set())
            list.again()
          }}
          close={() => setRemoving(null)}
        />
      )}
    </section>
  )
}
