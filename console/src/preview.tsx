import { useEffect, useRef, useState } from 'react'
import { api, type ListedObject } from './api.ts'
import { bytes } from './format.ts'
import { CopyButton, Dialog, Failure, Time } from './parts.tsx'
import { t } from './text.ts'

/** What a browser draws in a picture element, where nothing in it can run. */
const PICTURES = /^image\/(png|jpeg|webp|gif|avif|svg\+xml|bmp|x-icon)$/
const LARGEST_THUMBNAIL_BYTES = 2 * 1024 * 1024
const LARGEST_PICTURE_BYTES = 32 * 1024 * 1024

export const isPicture = (object: ListedObject): boolean => PICTURES.test(object.metadata?.mimetype?.split(';')[0] ?? '')

/** The bytes of a picture as an address of this page, given back when nobody shows it. */
function usePicture(project: string, bucket: string, key: string, wanted: boolean): { url: string | null; error: unknown } {
  const [url, setUrl] = useState<string | null>(null)
  const [error, setError] = useState<unknown>(null)
  useEffect(() => {
    if (!wanted) return
    const left = new AbortController()
    let made: string | null = null
    api.object(project, bucket, key, left.signal).then(
      (blob) => {
        if (left.signal.aborted) return
        made = URL.createObjectURL(blob)
        setUrl(made)
      },
      (failed: unknown) => !left.signal.aborted && setError(failed),
    )
    return () => {
      left.abort()
      if (made !== null) URL.revokeObjectURL(made)
    }
  }, [project, bucket, key, wanted])
  return { url, error }
}

/** A small picture where the object is one, fetched when it comes into sight; else what kind of file it is. */
export function Preview({ project, bucket, object, objectKey }: { project: string; bucket: string; object: ListedObject; objectKey: string }) {
  const place = useRef<HTMLSpanElement>(null)
  const [seen, setSeen] = useState(false)
  const small = isPicture(object) && (object.metadata?.size ?? 0) <= LARGEST_THUMBNAIL_BYTES
  useEffect(() => {
    if (!small || !place.current) return
    const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && setSeen(true))
    observer.observe(place.current)
    return () => observer.disconnect()
  }, [small])
  const { url } = usePicture(project, bucket, objectKey, seen)
  // What calls itself a picture need not be one.
  const [isBroken, setBroken] = useState(false)
  const kind = /\.(\w{1,4})$/.exec(object.name)?.[1] ?? '·'
  return (
    <span className="thumb" ref={place} aria-hidden="true">
      {url === null || isBroken ? kind : <img src={url} alt="" onError={() => setBroken(true)} />}
    </span>
  )
}

export function PictureDialog({
  project,
  bucket,
  object,
  objectKey,
  publicUrl,
  download,
  close,
}: {
  project: string
  bucket: string
  object: ListedObject
  objectKey: string
  publicUrl: string | null
  download: () => void
  close: () => void
}) {
  const fits = (object.metadata?.size ?? 0) <= LARGEST_PICTURE_BYTES
  const { url, error } = usePicture(project, bucket, objectKey, fits)
  const [size, setSize] = useState('')
  const [isBroken, setBroken] = useState(false)
  return (
    <Dialog title={object.name} close={close}>
      <div className="picture">
        {error !== null && <Failure error={error} />}
        {!fits && <p>{t('Too large to be shown here.')}</p>}
        {isBroken && <p>{t('No browser can draw this: it is no picture, or a damaged one.')}</p>}
        {url !== null && !isBroken && (
          <img
            src={url}
            alt={object.name}
            onLoad={(event) => setSize(`${event.currentTarget.naturalWidth} × ${event.currentTarget.naturalHeight} px · `)}
            onError={() => setBroken(true)}
          />
        )}
      </div>
      <p className="small">
        {size}
        {bytes(object.metadata?.size ?? 0)} · {object.metadata?.mimetype} {object.updated_at !== null && <Time at={object.updated_at} />}
      </p>
      <div className="actions">
        {publicUrl !== null && (
          <CopyButton text={publicUrl} label={t('Copy the public URL of {name}', { name: object.name })}>
            {t('Copy URL')}
          </CopyButton>
        )}
        <button type="button" onClick={download}>
          {t('Download')}
        </button>
        <button type="button" onClick={close}>
          {t('Close')}
        </button>
      </div>
    </Dialog>
  )
}
