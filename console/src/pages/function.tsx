import type { ReactNode } from 'react'
import { api, type FunctionInfo } from '../api.ts'
import { bytes, count } from '../format.ts'
import { Invocations } from '../invocations.tsx'
import { InvokeForm } from '../invoke.tsx'
import { useLoaded } from '../load.ts'
import { LiveLogs } from '../logs.tsx'
import { Badge, Card, Copyable, Page, Shown, stateKind, Time } from '../parts.tsx'
import { Provisioned } from '../provisioned.tsx'
import { hrefOf } from '../route.ts'
import { SandboxTable } from '../sandboxes.tsx'
import { t } from '../text.ts'
import { saysTrigger } from '../triggers.tsx'
import { Versions } from '../versions.tsx'

export function FunctionPage({ project, name }: { project: string; name: string }) {
  const key = `${project}/${name}`
  const definition = useLoaded(key, (signal) => api.function(project, name, signal), 5000)
  const triggers = useLoaded(key, (signal) => api.triggersOf(project, name, signal), 15_000)
  const invocations = useLoaded(key, (signal) => api.invocations(project, name, 100, signal), 2000)
  const status = useLoaded('status', (signal) => api.status(signal), 5000)
  return (
    <Page
      title={name}
      over={
        <p className="over">
          <a href={hrefOf(project, 'functions')}>{t('Functions')}</a> /
        </p>
      }
      actions={
        <>
          <a href={hrefOf(project, 'events', 'of', name)}>{t('Its queue and dead letters')}</a>
          {definition.value && <Badge kind={stateKind(definition.value.state)}>{definition.value.state}</Badge>}
        </>
      }
    >
      <Card title={t('Recent invocations')} wide>
        <Invocations of={invocations} project={project} name={name} />
      </Card>
      <div className="cards two">
        <Card title={t('Invoke')}>
          <InvokeForm project={project} name={name} done={invocations.again} />
        </Card>
        <Card title={t('Live logs')}>
          <LiveLogs key={key} project={project} name={name} />
        </Card>
        <Card title={t('Sandboxes')}>
          <Shown of={status}>{(node) => <SandboxTable of={node.pool.sandboxes} project={project} name={name} />}</Shown>
        </Card>
        <Card title={t('Definition')}>
          <Shown of={definition}>{(one) => <Definition of={one} />}</Shown>
        </Card>
        <Card title={t('Versions')}>
          <Versions project={project} name={name} />
        </Card>
        <Card title={t('Triggers')}>
          <Shown
            of={triggers}
            isEmpty={(list) => list.length === 0}
            empty={<p>{t('Nothing starts this function by itself. Write `triggers` into its mayfly.json and deploy again.')}</p>}
          >
            {(list) => (
              <ul className="plain">
                {list.map((trigger) => (
                  <li key={JSON.stringify(trigger)}>{saysTrigger(project, trigger)}</li>
                ))}
              </ul>
            )}
          </Shown>
        </Card>
      </div>
    </Page>
  )
}

function Definition({ of }: { of: FunctionInfo }) {
  const names = of['environmentNames'] as readonly string[]
  const rows: [string, ReactNode][] = [
    [t('Runtime'), of.runtime],
    [t('Handler'), <code key="handler">{of.handler}</code>],
    [t('Memory'), `${count(of.memory)} MB`],
    [t('Timeout'), `${count(of.timeout)} s`],
    ['/tmp', `${count(Number(of['tmp']))} MB`],
    [t('Concurrency'), count(Number(of['concurrency']))],
    [t('Reuse'), String(of['reuse'])],
    [t('Isolation'), String(of['sandbox'])],
    [t('Egress'), Array.isArray(of['egress']) ? of['egress'].join(', ') : String(of['egress'])],
    [t('Reserved'), of.reservedConcurrency === null ? t('none') : count(of.reservedConcurrency)],
    [t('Provisioned'), of.provisionedNow === null ? t('none') : <Provisioned key="provisioned" of={of.provisionedNow} />],
    [t('Role'), String(of['role'])],
    [t('Called by URL'), of['verifyJwt'] === true ? t('with a key') : t('by anyone')],
    [t('Code'), bytes(Number(of['codeBytes']))],
    [t('Environment'), names.length === 0 ? t('none') : names.join(', ')],
    [t('Changed'), <Time key="changed" at={String(of['modifiedAt'])} />],
    [t('Version'), <Copyable key="version" text={String(of['versionId'])} label={t('Copy the version')} />],
  ]
  return (
    <dl className="pairs">
      {rows.map(([name, value]) => (
        <div key={name} className="pair">
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}
