import { type FormEvent, useId, useState } from 'react'
import { api } from './api.ts'
import { useLoaded } from './load.ts'
import { Badge, Card, Dialog, Failure, Shown, stateKind } from './parts.tsx'
import { hrefOf } from './route.ts'
import { t } from './text.ts'

/** Whether a project runs or rests, and what is done with it as a whole. */
export function ProjectCard({ project }: { project: string }) {
  const loaded = useLoaded(project, (signal) => api.project(project, signal), 5000)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const [copying, setCopying] = useState(false)
  const isPaused = loaded.value?.project.state === 'paused'
  const turn = async () => {
    setBusy(true)
    setError(null)
    try {
      await (isPaused ? api.resumeProject(project) : api.pauseProject(project))
    } catch (failed) {
      setError(failed)
    } finally {
      setBusy(false)
      loaded.again()
    }
  }
  return (
    <Card
      title={t('Project')}
      actions={
        <>
          <button type="button" disabled={busy || loaded.value === null} onClick={() => void turn()}>
            {isPaused ? t('Wake it') : t('Let it rest')}
          </button>
          <button type="button" disabled={loaded.value === null} onClick={() => setCopying(true)}>
            {t('Copy it…')}
          </button>
        </>
      }
    >
      {error !== null && <Failure error={error} />}
      <Shown of={loaded}>
        {({ project: { state, apiPort, profile } }) => (
          <>
            <dl className="pairs">
              <dt>{t('State')}</dt>
              <dd>
                <Badge kind={state === 'paused' ? 'plain' : stateKind(state)}>
                  {state === 'paused' ? t('rests') : state === 'active' ? t('awake') : state}
                </Badge>
              </dd>
              <dt>{t('Limit profile')}</dt>
              <dd>{profile}</dd>
              <dt>{t('Port of its own')}</dt>
              <dd>{apiPort ?? t('none')}</dd>
            </dl>
            <p className="small">
              {state === 'paused'
                ? t('It has no process and no connection. Its next request wakes it.')
                : t('At rest it has no process and no connection, until its next request.')}
            </p>
          </>
        )}
      </Shown>
      {copying && <CopyDialog project={project} close={() => setCopying(false)} />}
    </Card>
  )
}

function CopyDialog({ project, close }: { project: string; close: () => void }) {
  const id = useId()
  const [ref, setRef] = useState(`${project}-copy`.slice(0, 40))
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const copy = async (submitted: FormEvent) => {
    submitted.preventDefault()
    if (busy) return
    setBusy(true)
    setError(null)
    try {
      await api.cloneProject(project, ref.trim())
    } catch (failed) {
      setBusy(false)
      return setError(failed)
    }
    // The list of projects is read when the page is.
    location.hash = hrefOf(ref.trim())
    location.reload()
  }
  return (
    <Dialog title={t('Copy {name}', { name: project })} close={close}>
      <form className="fields" onSubmit={(event) => void copy(event)}>
        <p>{t('The copy has the rows and files of this moment, and keys of its own. Functions, secrets and sites are deployed to it.')}</p>
        <label htmlFor={id}>{t('Name of the copy')}</label>
        <input id={id} type="text" value={ref} required autoComplete="off" spellCheck={false} maxLength={40} onChange={(event) => setRef(event.target.value)} />
        {error !== null && <Failure error={error} />}
        <div className="actions">
          <button type="button" onClick={close}>
            {t('Cancel')}
          </button>
          <button type="submit" className="primary" disabled={busy}>
            {busy ? t('Copying…') : t('Copy it')}
          </button>
        </div>
      </form>
    </Dialog>
  )
}
