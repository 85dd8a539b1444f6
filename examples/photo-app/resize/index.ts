import sharp from 'sharp'
import { etagOf, read, remove, type StoredObject, write } from './storage.ts'

const WIDTHS = [64, 256, 1024]
const MAX_PIXELS = 100_000_000

// Three sizes at once, each on one thread; the memory of a sandbox is bounded.
sharp.concurrency(1)
sharp.cache(false)

interface ObjectEvent {
  readonly Records: readonly { readonly s3: { readonly bucket: { readonly name: string }; readonly object: { readonly key: string } } }[]
}

const stemOf = (key: string) => key.replace(/\.[^./]+$/, '')
/** What is left without the extension names a folder; no name, `.` and `..` would lead elsewhere. */
const hasName = (key: string) => !/(^|\/)\.{0,2}$/.test(stemOf(key))
const thumbnailOf = (key: string, width: number) => `${stemOf(key)}/${width}.webp`

async function makeThumbnail(key: string, source: StoredObject, width: number): Promise<void> {
  const picture = sharp(source.bytes, { limitInputPixels: MAX_PIXELS, failOn: 'truncated' })
  const { data, info } = await picture.rotate().resize({ width, withoutEnlargement: true }).webp().toBuffer({ resolveWithObject: true })
  await write('thumbnails', thumbnailOf(key, width), data, 'image/webp')
  console.log(`${thumbnailOf(key, width)}: ${info.width}x${info.height}, ${data.length} bytes`)
}

/**
 * Makes the thumbnails of a picture equal to the picture as it is now. An event only says that something happened to
 * it: events may come twice, late or beside one another, so what counts is what lies in the bucket before and after.
 */
async function follow(bucket: string, key: string): Promise<void> {
  for (let seen: string | null | undefined; ; ) {
    const source = await read(bucket, key)
    if (source && !hasName(key)) throw new Error(`${key} has no name before its extension`)
    if (source) await Promise.all(WIDTHS.map((width) => makeThumbnail(key, source, width)))
    else if (hasName(key))
      await remove(
        'thumbnails',
        WIDTHS.map((width) => thumbnailOf(key, width)),
      )
    seen = await etagOf(bucket, key)
    if (seen === (source?.etag ?? null)) return
  }
}

export const handler = async (event: ObjectEvent): Promise<void> => {
  for (const { s3 } of event.Records) await follow(s3.bucket.name, decodeURIComponent(s3.object.key.replaceAll('+', ' ')))
}
