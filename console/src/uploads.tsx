import { useRef, useState } from 'react'
import { ApiError, upload } from './api.ts'
import { bytes } from './format.ts'
import { Failure } from './parts.tsx'
import { t } from './text.ts'

interface Upload {
  readonly id: number
  readonly file: File
  readonly state: 'waiting' | 'sending' | 'done' | 'failed'
  readonly sent: number
  readonly error: unknown
}

export interface UploadList {
  readonly list: readonly Upload[]
  readonly add: (files: readonly File[]) => void
  readonly retry: (one: Upload, replace: boolean) => void
  readonly forget: (one: Upload) => void
}

/** So many at a time: a folder of a thousand pictures does not open a thousand connections. */
const AT_ONCE = 3
const SHOWN_DONE_MS = 4000

export function useUploads(project: string, bucket: string, prefix: string, done: () => void): UploadList {
  const [list, setList] = useState<readonly Upload[]>([])
  const next = useRef(1)
  const waiting = useRef<(() => Promise<void>)[]>([])
  const running = useRef(0)

  const change = (id: number, to: Partial<Upload>) => setList((before) => before.map((one) => (one.id === id ? { ...one, ...to } : one)))
  const forget = ({ id }: { id: number }) => setList((before) => before.filter((one) => one.id !== id))
  const pump = () => {
    while (running.current < AT_ONCE) {
      const work = waiting.current.shift()
      if (!work) return
      running.current++
      void work().finally(() => {
        running.current--
        pump()
      })
    }
  }
  const send = ({ id, file }: Upload, replace: boolean) => {
    waiting.current.push(async () => {
      change(id, { state: 'sending', sent: 0, error: null })
      try {
        await upload(project, bucket, prefix + file.name, file, replace, (sent) => change(id, { sent }))
        change(id, { state: 'done', sent: file.size })
        done()
        setTimeout(() => forget({ id }), SHOWN_DONE_MS)
      } catch (error) {
        change(id, { state: 'failed', error })
      }
    })
    pump()
  }
  return {
    list,
    forget,
    add: (files) => {
      const fresh = files.map((file): Upload => ({ id: next.current++, file, state: 'waiting', sent: 0, error: null }))
      setList((before) => [...before, ...fresh])
      for (const one of fresh) send(one, false)
    },
    retry: (one, replace) => {
      change(one.id, { state: 'waiting', error: null })
      send(one, replace)
    },
  }
}

const isTaken = (error: unknown) => error instanceof ApiError && (error.status === 409 || /duplicate|exists/i.test(`${error.code} ${error.message}`))

export function Uploads({ of }: { of: UploadList }) {
  if (of.list.length === 0) return null
  return (
    <ul className="uploads" aria-label={t('Uploads')}>
      {of.list.map((one) => (
        <li key={one.id}>
          <span className="name">{one.file.name}</span>
          <span className="small" aria-live="polite">
            {one.state === 'done'
              ? t('done')
              : one.state === 'failed'
                ? t('failed')
                : one.state === 'waiting'
                  ? t('waiting')
                  : `${bytes(one.sent)} / ${bytes(one.file.size)}`}
          </span>
          <progress value={one.sent} max={Math.max(one.file.size, 1)} aria-label={t('Upload of {name}', { name: one.file.name })} />
          {one.state === 'failed' && (
            <div className="wide">
              <Failure error={one.error} />
              <div className="actions">
                <button type="button" onClick={() => of.retry(one, isTaken(one.error))}>
                  {isTaken(one.error) ? t('Replace it') : t('Try again')}
                </button>
                <button type="button" onClick={() => of.forget(one)}>
                  {t('Leave it')}
                </button>
              </div>
            </div>
          )}
        </li>
      ))}
    </ul>
  )
}
