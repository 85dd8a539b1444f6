import sharp from 'sharp'

// One picture at a time: a sandbox runs one call, and its memory is bounded.
sharp.concurrency(1)
sharp.cache(false)

const MAX_WIDTH = 4096

const refuse = (status: number, error: string) => Response.json({ error }, { status })

/** A picture as the body, `?width=` in the query; a WebP of at most that width comes back. */
export default {
  async fetch(request: Request): Promise<Response> {
    const widthText = new URL(request.url).searchParams.get('width') ?? '256'
    const width = Number(widthText)
    if (!Number.isInteger(width) || width < 1 || width > MAX_WIDTH) return refuse(400, `width must be a whole number from 1 to ${MAX_WIDTH}`)
    const picture = Buffer.from(await request.arrayBuffer())
    if (picture.length === 0) return refuse(400, 'send a picture as the body of a POST')
    try {
      const { data, info } = await sharp(picture).rotate().resize({ width, withoutEnlargement: true }).webp().toBuffer({ resolveWithObject: true })
      console.log(`${picture.length} bytes in, ${info.width}x${info.height}, ${data.length} bytes out`)
      return new Response(new Uint8Array(data), { headers: { 'content-type': 'image/webp', 'x-width': String(info.width), 'x-height': String(info.height) } })
    } catch (error) {
      return refuse(415, `the body is not a picture that can be read: ${error instanceof Error ? error.message : 'unknown format'}`)
    }
  },
}
