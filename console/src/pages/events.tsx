import { useId, useState } from 'react'
import { api } from '../api.ts'
import { Calls } from '../calls.tsx'
import { Feed } from '../feed.tsx'
import { Letters } from '../letters.tsx'
import { useLoaded } from '../load.ts'
import { Card, Page, Shown, Table } from '../parts.tsx'
import { PauseButton } from '../pause.tsx'
import { hrefOf } from '../route.ts'
import { t } from '../text.ts'
import { saysTrigger } from '../triggers.tsx'

/** @param first  the function that is asked for first; '' for all */
export function EventsPage({ project, first }: { project: string; first: string }) {
  const [functionName, setFunctionName] = useState(first)
  const functions = useLoaded(project, (signal) => api.functions(project, signal), 15_000)
  const triggers = useLoaded(project, (signal) => api.triggers(project, signal), 15_000)
  const id = useId()
  // What is asked for by the address may be gone, with dead letters left.
  const names = [...new Set([...(functions.value ?? []).map(({ name }) => name), ...(functionName === '' ? [] : [functionName])])].toSorted()
  return (
    <Page
      title={t('Events')}
      actions={
        <>
          <label htmlFor={id} className="beside">
            {t('Function')}
            <select id={id} value={functionName} onChange={(event) => setFunctionName(event.target.value)}>
              <option value="">{t('any')}</option>
              {names.map((name) => (
                <option key={name} value={name}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          {functionName !== '' && <PauseButton key={functionName} project={project} name={functionName} />}
        </>
      }
    >
      <Calls project={project} functionName={functionName} />
      <Letters key={functionName} project={project} functionName={functionName} />
      <Feed project={project} functionName={functionName} />
      <Card title={t('Find an invocation')} wide>
        <Find project={project} />
      </Card>
      <Card title={t('Triggers')} wide>
        <Shown
          of={triggers}
          isEmpty={(list) => list.length === 0}
          empty={<p>{t('No event starts a function here. Write `triggers` into the mayfly.json of a function and deploy it again.')}</p>}
        >
          {(list) => (
            <Table
              label={t('Triggers')}
              rows={functionName === '' ? list : list.filter((trigger) => trigger.function === functionName)}
              keyOf={(trigger) => JSON.stringify(trigger)}
              columns={[
                { head: t('Function'), main: true, cell: (trigger) => <a href={hrefOf(project, 'functions', trigger.function)}>{trigger.function}</a> },
                { head: t('Starts at'), wide: true, cell: (trigger) => saysTrigger(project, trigger) },
              ]}
            />
          )}
        </Shown>
      </Card>
    </Page>
  )
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

function Find({ project }: { project: string }) {
  const [sought, setSought] = useState('')
  const id = sought.trim()
  const isId = UUID.test(id)
  return (
    <form
      className="log-tools"
      onSubmit={(submitted) => {
        submitted.preventDefault()
        if (isId) location.hash = hrefOf(project, 'events', id)
      }}
    >
      <input
        type="search"
        aria-label={t('Id of an invocation')}
        placeholder={t('Id of an invocation')}
        value={sought}
        onChange={(event) => setSought(event.target.value)}
      />
      <button type="submit" disabled={!isId}>
        {t('Show its life')}
      </button>
    </form>
  )
}
