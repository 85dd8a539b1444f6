import { useState } from 'react'
import { api, type ProjectLimits } from './api.ts'
import { bytes, count } from './format.ts'
import { useLoaded } from './load.ts'
import { Failure, Shown } from './parts.tsx'
import { t } from './text.ts'

const range = ({ least, most }: { readonly least: number; readonly most: number }) => (least === most ? count(most) : `${count(least)}–${count(most)}`)

/** What the functions of a project are held to, and the other profiles that it may have. */
export function Limits({ project }: { project: string }) {
  const own = useLoaded(project, (signal) => api.project(project, signal), 15_000)
  const known = useLoaded('limit-profiles', (signal) => api.limitProfiles(signal))
  const [error, setError] = useState<unknown>(null)
  const set = async (profile: string) => {
    setError(null)
    try {
      await api.setLimitProfile(project, profile)
    } catch (failed) {
      setError(failed)
    }
    own.again()
  }
  return (
    <Shown of={own}>
      {({ project: { profile }, limits }) => (
        <>
          <p>
            <label>
              {t('Limit profile')}{' '}
              <select value={profile} onChange={(event) => void set(event.target.value)}>
                {(known.value ?? [{ name: profile }]).map(({ name }) => (
                  <option key={name} value={name}>
                    {name}
                  </option>
                ))}
              </select>
            </label>
          </p>
          {error !== null && <Failure error={error} />}
          <Numbers of={limits} />
          <p className="small">{t('In force from the next deploy on; what is beyond it goes on as it is.')}</p>
        </>
      )}
    </Shown>
  )
}

function Numbers({ of }: { of: ProjectLimits }) {
  const rows: [string, string][] = [
    [t('Memory'), `${range(of.memory)} MB`],
    [t('Timeout'), `${range(of.timeout)} s`],
    ['/tmp', `${range(of.tmp)} MB`],
    [t('Concurrency'), range(of.concurrency)],
    [t('Queued event'), bytes(of.queuedPayload)],
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
