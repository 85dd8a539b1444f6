import { type FormEvent, useId, useState } from 'react'
import { api, type FunctionUrlInfo } from '../api.ts'
import { useLoaded } from '../load.ts'
import { Badge, Card, Confirm, Copyable, Failure, Page, Shown, Table, Time } from '../parts.tsx'
import { hrefOf } from '../route.ts'
import { t } from '../text.ts'

const nameOf = ({ function: name, alias }: FunctionUrlInfo) => (alias === null ? name : `${name}:${alias}`)

/** Addresses of functions and of their aliases: who may call them, and how they answer. */
export function UrlsPage({ project }: { project: string }) {
  const urls = useLoaded(project, (signal) => api.functionUrls(project, signal), 10_000)
  const [changed, setChanged] = useState<FunctionUrlInfo | null>(null)
  const [doomed, setDoomed] = useState<FunctionUrlInfo | null>(null)
  return (
    <Page title={t('Function URLs')}>
      <Card title={t('Addresses of functions')} wide>
        <Shown
          of={urls}
          isEmpty={(all) => all.urls.length === 0}
          empty={<p>{t('No function has an address of its own yet. Give it one below, or write `"url": true` into its mayfly.json.')}</p>}
        >
          {(all) => (
            <Table
              label={t('Function URLs')}
              rows={all.urls}
              keyOf={nameOf}
              columns={[
                {
                  head: t('Function'),
                  main: true,
                  cell: (one) => (
                    <>
                      <a href={hrefOf(project, 'functions', one.function)}>{one.function}</a>
                      {one.alias !== null && `:${one.alias}`}
                    </>
                  ),
                },
                { head: t('URL'), wide: true, cell: (one) => <Copyable text={one.url} label={t('Copy the URL of {name}', { name: nameOf(one) })} /> },
                { head: t('Who may call'), wide: true, cell: (one) => <Callers of={one} strict={all.strict} /> },
                { head: t('Answers'), cell: (one) => (one.stream ? t('as they are made') : t('when they are whole')) },
                { head: t('Changed'), cell: (one) => <Time at={one.modifiedAt} /> },
                {
                  head: t('Actions'),
                  buttons: true,
                  cell: (one) => (
                    <div className="actions">
                      <button type="button" aria-label={t('Change the URL of {name}', { name: nameOf(one) })} onClick={() => setChanged(one)}>
                        {t('Change')}
                      </button>
                      <button type="button" className="danger" aria-label={t('Remove the URL of {name}', { name: nameOf(one) })} onClick={() => setDoomed(one)}>
                        {t('Remove')}
                      </button>
                    </div>
                  ),
                },
              ]}
            />
          )}
        </Shown>
      </Card>
      <div className="cards two">
        <Card title={changed === null ? t('Give a function an address') : t('Change the URL of {name}', { name: nameOf(changed) })}>
          <UrlForm
            key={changed === null ? '' : nameOf(changed)}
            project={project}
            of={changed}
            done={() => {
              setChanged(null)
              urls.again()
            }}
            leave={changed === null ? null : () => setChanged(null)}
          />
        </Card>
        <Card title={t('Addresses without a signature')}>
          <Shown of={urls}>{({ strict }) => <Strictness project={project} strict={strict} done={urls.again} />}</Shown>
        </Card>
      </div>
      {doomed && (
        <Confirm
          title={t('Remove the URL of {name}?', { name: nameOf(doomed) })}
          text={<p>{t('Who calls it finds nothing from then on; another one will have another name. The function stays.')}</p>}
          act={t('Remove')}
          run={() => api.removeFunctionUrl(project, doomed.function, doomed.alias).finally(urls.again)}
          close={() => setDoomed(null)}
        />
      )}
    </Page>
  )
}

function Callers({ of, strict }: { of: FunctionUrlInfo; strict: boolean }) {
  if (of.auth === 'iam') return <Badge kind="plain">{t('who signs')}</Badge>
  return strict ? <Badge kind="plain">{t('whom policies allow')}</Badge> : <Badge kind="warn">{t('anyone')}</Badge>
}

/** @param of  the address that is changed; null for a new one */
function UrlForm({ project, of, done, leave }: { project: string; of: FunctionUrlInfo | null; done: () => void; leave: (() => void) | null }) {
  const id = useId()
  const functions = useLoaded(project, (signal) => api.functions(project, signal), 15_000)
  const [chosen, setChosen] = useState(of?.function ?? '')
  const name = chosen === '' ? (functions.value?.[0]?.name ?? '') : chosen
  const aliases = useLoaded(`${project}/${name}`, async (signal) => (name === '' ? [] : await api.aliases(project, name, signal)), 15_000)
  const [alias, setAlias] = useState(of?.alias ?? '')
  const [auth, setAuth] = useState<'none' | 'iam'>(of?.auth ?? 'none')
  const [stream, setStream] = useState(of?.stream ?? false)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const save = async (submitted: FormEvent) => {
    submitted.preventDefault()
    if (busy || name === '') return
    setBusy(true)
    setError(null)
    try {
      await api.putFunctionUrl(project, name, alias === '' ? null : alias, { auth, stream })
      done()
    } catch (failed) {
      setError(failed)
    } finally {
      setBusy(false)
    }
  }
  return (
    <form className="fields" onSubmit={save}>
      {of === null && (
        <>
          {functions.error !== null && <Failure error={functions.error} again={functions.again} />}
          <label htmlFor={`${id}-function`}>{t('Function')}</label>
          <select
            id={`${id}-function`}
            value={name}
            onChange={(event) => {
              setChosen(event.target.value)
              setAlias('')
            }}
          >
            {functions.value?.map((one) => (
              <option key={one.name} value={one.name}>
                {one.name}
              </option>
            ))}
          </select>
          <label htmlFor={`${id}-alias`}>{t('Alias')}</label>
          <select id={`${id}-alias`} value={alias} onChange={(event) => setAlias(event.target.value)}>
            <option value="">{t('none: what the function is now')}</option>
            {aliases.value?.map((one) => (
              <option key={one.name} value={one.name}>
                {one.name}
              </option>
            ))}
          </select>
        </>
      )}
      <label htmlFor={`${id}-auth`}>{t('Who may call')}</label>
      <select id={`${id}-auth`} value={auth} onChange={(event) => setAuth(event.target.value === 'iam' ? 'iam' : 'none')}>
        <option value="none">{t('anyone')}</option>
        <option value="iam">{t('who signs with an access key of the project')}</option>
      </select>
      <label className="check">
        <input type="checkbox" checked={stream} onChange={(event) => setStream(event.target.checked)} /> {t('Send answers as they are made')}
      </label>
      <div className="actions">
        <button type="submit" className="primary" disabled={busy || name === ''}>
          {of === null ? t('Give it an address') : t('Change it')}
        </button>
        {leave && (
          <button type="button" onClick={leave}>
            {t('Leave it')}
          </button>
        )}
      </div>
      <div aria-live="polite">{error !== null && <Failure error={error} />}</div>
    </form>
  )
}

function Strictness({ project, strict, done }: { project: string; strict: boolean; done: () => void }) {
  const [error, setError] = useState<unknown>(null)
  const set = async (wanted: boolean) => {
    setError(null)
    try {
      await api.setUrlsStrict(project, wanted)
    } catch (failed) {
      setError(failed)
    }
    done()
  }
  return (
    <>
      <p>{strict ? t('They let in only whom a policy of their function allows, as on AWS.') : t('They let in anyone.')}</p>
      <fieldset className="choice" aria-label={t('Whom addresses without a signature let in')}>
        <button type="button" aria-pressed={!strict} onClick={() => void set(false)}>
          {t('anyone')}
        </button>
        <button type="button" aria-pressed={strict} onClick={() => void set(true)}>
          {t('whom policies allow')}
        </button>
      </fieldset>
      {error !== null && <Failure error={error} />}
    </>
  )
}
