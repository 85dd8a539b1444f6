import { type FormEvent, useId, useState } from 'react'
import { api, type FunctionInfo, type SecretInfo } from '../api.ts'
import { useLoaded } from '../load.ts'
import { Card, Confirm, CopyButton, Failure, Page, Shown, Table, Time } from '../parts.tsx'
import { hrefOf } from '../route.ts'
import { t } from '../text.ts'

const DIGEST_SHOWN = 12

/** Names, digests and dates of a project's secrets. A value goes in and is never shown again. */
export function SecretsPage({ project }: { project: string }) {
  const secrets = useLoaded(project, (signal) => api.secrets(project, signal), 10_000)
  const functions = useLoaded(project, (signal) => api.functions(project, signal), 15_000)
  const [name, setName] = useState('')
  const [doomed, setDoomed] = useState<SecretInfo | null>(null)
  const replace = (of: SecretInfo) => {
    setName(of.name)
    document.getElementById('secret-value')?.focus()
  }
  return (
    <Page title={t('Secrets')}>
      <Card title={t('Secrets of this project')} wide>
        <Shown
          of={secrets}
          isEmpty={(list) => list.length === 0}
          empty={<p>{t('There is no secret yet. Set one below, or by `npx mayfly secrets set NAME`.')}</p>}
        >
          {(list) => (
            <Table
              label={t('Secrets')}
              rows={list}
              keyOf={(one) => one.name}
              columns={[
                { head: t('Name'), main: true, cell: (one) => <code>{one.name}</code> },
                {
                  head: t('Digest'),
                  wide: true,
                  cell: (one) => (
                    <span className="copyable">
                      <code title={one.digest}>{one.digest.slice(0, DIGEST_SHOWN)}…</code>
                      <CopyButton text={one.digest} label={t('Copy the digest of {name}', { name: one.name })} />
                    </span>
                  ),
                },
                { head: t('Read by'), wide: true, cell: (one) => <Readers of={one.name} functions={functions.value} project={project} /> },
                { head: t('Changed'), cell: (one) => <Time at={one.modifiedAt} /> },
                { head: t('Made'), cell: (one) => <Time at={one.createdAt} /> },
                {
                  head: t('Actions'),
                  buttons: true,
                  cell: (one) => (
                    <div className="actions">
                      <button type="button" aria-label={t('Give {name} another value', { name: one.name })} onClick={() => replace(one)}>
                        {t('Replace')}
                      </button>
                      <button type="button" className="danger" aria-label={t('Remove {name}', { name: one.name })} onClick={() => setDoomed(one)}>
                        {t('Remove')}
                      </button>
                    </div>
                  ),
                },
              ]}
            />
          )}
        </Shown>
        <p className="small">{t('Values are never shown. The digest is the same for the same value.')}</p>
      </Card>
      <Card title={t('Set a secret')} wide>
        <SetForm project={project} name={name} setName={setName} done={secrets.again} />
      </Card>
      {doomed && (
        <Confirm
          title={t('Remove {name}?', { name: doomed.name })}
          text={<p>{t('Functions that name it go without from their next call on. This cannot be taken back.')}</p>}
          act={t('Remove')}
          run={() => api.removeSecret(project, doomed.name).finally(secrets.again)}
          close={() => setDoomed(null)}
        />
      )}
    </Page>
  )
}

/** The functions that get a secret: those that name it, or all of them. */
function Readers({ of, functions, project }: { of: string; functions: readonly FunctionInfo[] | null; project: string }) {
  if (functions === null) return <>…</>
  const readers = functions.filter((one) => (one['secrets'] as readonly string[]).some((name) => name === of || name === '*'))
  if (readers.length === 0) return <>{t('no function')}</>
  return (
    <span className="keys">
      {readers.map((one) => (
        <a key={one.name} href={hrefOf(project, 'functions', one.name)}>
          {one.name}
        </a>
      ))}
    </span>
  )
}

function SetForm({ project, name, setName, done }: { project: string; name: string; setName: (name: string) => void; done: () => void }) {
  const id = useId()
  const [value, setValue] = useState('')
  const [seen, setSeen] = useState(false)
  const [busy, setBusy] = useState(false)
  const [said, setSaid] = useState<string | null>(null)
  const [error, setError] = useState<unknown>(null)
  const save = async (submitted: FormEvent) => {
    submitted.preventDefault()
    if (busy) return
    setBusy(true)
    setError(null)
    setSaid(null)
    try {
      await api.setSecret(project, name.trim(), value)
      setSaid(t('{name} is set. Functions that name it get it from their next call on.', { name: name.trim() }))
      setName('')
      setValue('')
      setSeen(false)
    } catch (failed) {
      setError(failed)
    } finally {
      setBusy(false)
      done()
    }
  }
  return (
    <form className="fields" onSubmit={save} autoComplete="off">
      <label htmlFor={id}>{t('Name')}</label>
      <input
        id={id}
        type="text"
        value={name}
        maxLength={256}
        required
        spellCheck={false}
        autoCapitalize="off"
        placeholder="STRIPE_KEY"
        onChange={(changed) => setName(changed.target.value)}
      />
      <label htmlFor="secret-value">{t('Value')}</label>
      {/* Of several lines, as certificates are: so it is no field for passwords. */}
      <textarea
        id="secret-value"
        className={seen ? undefined : 'masked'}
        rows={3}
        value={value}
        required
        spellCheck={false}
        autoComplete="off"
        autoCapitalize="off"
        onChange={(changed) => setValue(changed.target.value)}
      />
      <div className="actions">
        <button type="submit" className="primary" disabled={busy || name.trim() === '' || value === ''}>
          {t('Set it')}
        </button>
        <button type="button" aria-pressed={seen} onClick={() => setSeen(!seen)}>
          {t('Show what is typed')}
        </button>
      </div>
      <div aria-live="polite">
        {error !== null && <Failure error={error} />}
        {said !== null && <p className="small">{said}</p>}
      </div>
    </form>
  )
}
