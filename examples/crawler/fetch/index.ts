import type { QueueHandler } from '@mayfly/functions'
import { db, type Page, sendDue } from '../project.ts'

const MOST_BYTES = 2_000_000
const TIMEOUT_MS = 10_000

/** Fetches a page, writes its row, and sends what it links to and is not known yet. Twice is the same as once. */
export const handler: QueueHandler = async ({ Records }) => {
  for (const { body } of Records) await visit(JSON.parse(body) as Page)
}

async function visit({ url, site }: Page): Promise<void> {
  const request = fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), headers: { 'user-agent': 'mayfly-crawler' } })
  // `fetch failed` alone says neither which page nor why.
  const response = await request.catch((error: Error) => {
    throw new Error(`${url}: ${error.cause instanceof Error ? error.cause.message : error.message}`, { cause: error })
  })
  // What passes by itself is tried again by the queue, and stands among its dead letters in the end.
  if (response.status === 429 || response.status >= 500) throw new Error(`${url}: ${response.status}`)
  const html = await textOf(response)
  const links = response.ok ? linksOf(html, response.url, site) : []
  const found = links.map((link) => ({ url: link, site }))
  if (found.length > 0) {
    const added = await db.from('pages').upsert(found, { onConflict: 'url', ignoreDuplicates: true })
    if (added.error) throw added.error
  }
  const title = /<title[^>]*>([^<]{0,300})/i.exec(html)?.[1]?.trim() ?? null
  const row = { status: response.status, title, bytes: Buffer.byteLength(html), fetched_at: new Date().toISOString() }
  const written = await db.from('pages').update(row).eq('url', url)
  if (written.error) throw written.error
  await sendDue()
  console.log(`${response.status} ${url}: ${links.length} links`)
}

/** Of a page of HTML, its beginning at most; of all else nothing. */
async function textOf(response: Response): Promise<string> {
  if (!response.headers.get('content-type')?.includes('html')) {
    await response.body?.cancel()
    return ''
  }
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length >= MOST_BYTES) break
  }
  return text
}

/** Addresses below the folder of the site's first page, each once, without what follows `#`. */
function linksOf(html: string, base: string, site: string): string[] {
  const folder = new URL('.', site).href
  const links = new Set<string>()
  for (const [, href = ''] of html.matchAll(/<a\s[^>]*?href\s*=\s*["']([^"']{1,2000})["']/gi)) {
    const link = URL.parse(href.replaceAll('&amp;', '&'), base)
    if (!link) continue
    link.hash = ''
    if (link.href.startsWith(folder) && link.href.length <= 2_000) links.add(link.href)
  }
  return [...links]
}
