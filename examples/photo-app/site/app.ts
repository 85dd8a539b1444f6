import { createClient } from '@supabase/supabase-js'
// What is deployed with this page: what the bucket takes stands there alone.
import { buckets } from '../mayfly.json'

const WIDTHS = ['64', '256', '1024'] as const
/** So many pictures are on the page: the newest. */
const SHOWN = 60
const PAGE = 100
const LIMIT = buckets.find(({ name }) => name === 'avatars')?.fileSizeLimit ?? ''
const LIMIT_MB = Number(/^(\d+)MB$/.exec(LIMIT)?.[1] ?? Number.POSITIVE_INFINITY)
/** The function is started for these names, so that a picture without one of them gets one. */
const ENDINGS: Readonly<Record<string, string>> = { 'image/jpeg': '.jpg', 'image/png': '.png', 'image/webp': '.webp' }
const PATIENCE_MS = 30_000

const element = <T extends Element>(selector: string) => document.querySelector(selector) as T
const make = (name: string, className: string, text = '') => {
  const made = document.createElement(name)
  made.className = className
  made.textContent = text
  return made
}

const project = (await (await fetch('/_mayfly/project.json')).json()) as { url: string; publishableKey: string }
const client = createClient(project.url, project.publishableKey)
const thumbnails = client.storage.from('thumbnails')
/** Not `getPublicUrl`: it leaves `?` and `#` of a key as they are, and a key is any text. */
const addressOf = (key: string) => `${project.url}/storage/v1/object/public/thumbnails/${key.split('/').map(encodeURIComponent).join('/')}`

// ── the gallery: a card for each picture, filled as its versions come ──

const cards = new Map<string, HTMLElement>()
/** There are, or were, older pictures than those on the page. */
let isFull = false

/** `mb2k3j9x07f1-cat.jpg` was uploaded as `cat.jpg`: what stands before keeps names apart and in order of time. */
const shownName = (stem: string) => stem.replace(/^[0-9a-z]{8,12}-/, '')
const none = element<HTMLElement>('#none')
const gallery = element<HTMLElement>('#gallery')

function cardOf(stem: string): HTMLElement {
  const known = cards.get(stem)
  if (known) return known
  const card = make('li', 'card')
  card.dataset.stem = stem
  const versions = make('div', 'versions')
  const name = make('p', 'name', shownName(stem))
  name.title = shownName(stem)
  card.append(name, versions)
  // The newest first, whatever comes first.
  const next = [...gallery.children].find((other) => ((other as HTMLElement).dataset.stem ?? '') < stem)
  gallery.insertBefore(card, next ?? null)
  cards.set(stem, card)
  none.hidden = true
  if (cards.size > SHOWN) {
    isFull = true
    forget((gallery.lastElementChild as HTMLElement).dataset.stem ?? '')
  }
  return card
}

interface Row {
  readonly id: string
  readonly updated_at: string
}

function show(stem: string, width: string, row: Row): void {
  const card = cardOf(stem)
  const versions = card.querySelector('.versions') as HTMLElement
  const address = addressOf(`${stem}/${width}.webp`)
  card.querySelector(`[data-version="${width}"]`)?.remove()
  const link = make('a', '') as HTMLAnchorElement
  link.dataset.version = width
  link.dataset.id = row.id
  link.href = address
  const image = make('img', '') as HTMLImageElement
  image.dataset.width = width
  image.alt = `${shownName(stem)}, ${width} pixels wide`
  image.src = `${address}?v=${encodeURIComponent(row.updated_at)}`
  link.append(image, `${width} px`)
  const after = [...versions.children].find((other) => Number((other as HTMLElement).dataset.version) > Number(width))
  versions.insertBefore(link, after ?? null)
  finish(stem, width)
}

function forget(stem: string): void {
  cards.get(stem)?.remove()
  cards.delete(stem)
  none.hidden = cards.size > 0
}

/** What went while the gallery was being read: a list from before may still name it. */
const gone = new Set<string>()
let readers = 0

/** Of what is gone only the id is told. */
function hide(id: string): void {
  if (readers > 0) gone.add(id)
  const link: HTMLElement | null = document.querySelector<HTMLElement>(`[data-id="${CSS.escape(id)}"]`)
  const card = link?.closest<HTMLElement>('.card')
  link?.remove()
  if (!card || card.querySelector('a')) return
  forget(card.dataset.stem ?? '')
  if (isFull) fillUp()
}

let filling = false
/** Older pictures take the place of those that went; many go at once. */
function fillUp(): void {
  if (filling) return
  filling = true
  setTimeout(() => {
    filling = false
    void showAll()
  }, 500)
}

function partsOf(name: string): [string, string] | [null, null] {
  const found = /^(.*)\/(\d+)\.webp$/.exec(name)
  return found?.[1] !== undefined && found[2] !== undefined ? [found[1], found[2]] : [null, null]
}

interface Listed {
  readonly stem: string
  readonly versions: readonly (readonly [string, Row])[]
}

/** What begins with this, up to the next slash, as far as it can be shown; folders have no id. The last names come first, as the newest do. */
async function entriesOf(prefix: string): Promise<{ readonly name: string; readonly id: string | null; readonly updated_at: string | null }[]> {
  for (const entries = []; ; ) {
    const { data, error } = await thumbnails.list(prefix, { limit: PAGE, offset: entries.length, sortBy: { column: 'name', order: 'desc' } })
    if (error) throw error
    entries.push(...data)
    if (data.length < PAGE || entries.filter(({ id }) => id === null).length >= SHOWN) return entries
  }
}

/**
 * The pictures in a folder and below it: `holiday/beach.jpg` is in a folder of its own, with one for its sizes.
 * @param folder  with its slash, as one may have no name: `a//b.jpg` is a key
 */
async function* picturesIn(folder: string): AsyncGenerator<Listed> {
  const entries = await entriesOf(folder)
  const versions = entries.flatMap(({ name, id, updated_at }) => {
    const [stem, width] = partsOf(folder + name)
    return stem !== null && id !== null ? [[width, { id, updated_at: updated_at ?? '' }] as const] : []
  })
  if (versions.length > 0) yield { stem: folder.slice(0, -1), versions }
  for (const { name, id } of entries) if (id === null) yield* picturesIn(`${folder}${name}/`)
}

/** Makes the gallery equal to what is there now: what came and what went while nobody listened. */
async function showAll(): Promise<void> {
  const before = [...document.querySelectorAll<HTMLElement>('#gallery a')].map((link) => link.dataset.id ?? '')
  const there = new Set<string>()
  let pictures = 0
  readers++
  try {
    for await (const { stem, versions } of picturesIn('')) {
      for (const [width, row] of versions) {
        if (gone.has(row.id)) continue
        there.add(row.id)
        show(stem, width, row)
      }
      if (++pictures === SHOWN) break
    }
    isFull = pictures === SHOWN
    // What is older than the newest goes too: the page is the same however it came to be.
    for (const id of before) if (!there.has(id)) hide(id)
    none.hidden = cards.size > 0
  } catch {
    // The server is away: once it is heard again, this is called again.
  } finally {
    if (--readers === 0) gone.clear()
  }
}

// ── what comes while the page is open ──

interface ObjectRow extends Row {
  readonly name: string
}

function watch(): void {
  const live = element<HTMLElement>('#live')
  client
    .channel('thumbnails')
    .on('postgres_changes', { event: '*', schema: 'storage', table: 'objects', filter: 'bucket_id=eq.thumbnails' }, (change) => {
      if (change.eventType === 'DELETE') return
      const row = change.new as ObjectRow
      const [stem, width] = partsOf(row.name)
      if (stem === null) return
      show(stem, width, row)
    })
    // Of what is gone the key alone is told, so that no filter on a bucket fits it.
    .on('postgres_changes', { event: 'DELETE', schema: 'storage', table: 'objects' }, (change) => hide((change.old as ObjectRow).id))
    .subscribe((status) => {
      live.dataset.state = status === 'SUBSCRIBED' ? 'live' : 'waiting'
      live.textContent = status === 'SUBSCRIBED' ? 'live' : 'connecting'
      // What happened while nobody listened is read, not heard.
      if (status === 'SUBSCRIBED') void showAll()
    })
}

// ── uploads ──

interface Pending {
  readonly told: HTMLElement
  readonly missing: Set<string>
  from: number
  sent: boolean
}
const pending = new Map<string, Pending>()

function finish(stem: string, width: string): void {
  const upload = pending.get(stem)
  upload?.missing.delete(width)
  if (upload) settle(stem, upload)
}

/** A size may be there before the upload is answered. */
function settle(stem: string, upload: Pending): void {
  if (!upload.sent || upload.missing.size > 0) return
  pending.delete(stem)
  upload.told.textContent = `resized ${((performance.now() - upload.from) / 1000).toFixed(2)} s after the upload`
}

/** By XMLHttpRequest: it tells how far the upload is, which fetch does not. */
function send(key: string, file: File, progress: HTMLProgressElement): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open('POST', `${project.url}/storage/v1/object/avatars/${encodeURIComponent(key)}`)
    request.setRequestHeader('apikey', project.publishableKey)
    request.setRequestHeader('authorization', `Bearer ${project.publishableKey}`)
    request.setRequestHeader('content-type', file.type)
    request.upload.onprogress = ({ loaded, total }) => {
      progress.value = total === 0 ? 1 : loaded / total
    }
    request.onload = () => {
      if (request.status === 200) return resolve()
      reject(new Error((JSON.parse(request.responseText || '{}') as { message?: string }).message ?? `the upload was answered with ${request.status}`))
    }
    request.onerror = () => reject(new Error('the server was not reached'))
    request.send(file)
  })
}

async function upload(file: File): Promise<void> {
  const row = make('li', '')
  const name = make('span', 'name', file.name)
  name.title = file.name
  const told = make('span', 'told', 'uploading')
  const progress = make('progress', '') as HTMLProgressElement
  progress.max = 1
  progress.value = 0
  progress.setAttribute('aria-label', `${file.name} is being uploaded`)
  row.append(name, told, progress)
  element('#uploads').prepend(row)
  const unique = Date.now().toString(36).padStart(8, '0') + Math.random().toString(36).slice(2, 6).padEnd(4, '0')
  const key = `${unique}-${file.name}${/\.(jpe?g|png|webp)$/i.test(file.name) ? '' : (ENDINGS[file.type] ?? '')}`
  const stem = key.replace(/\.[^./]+$/, '')
  pending.set(stem, { told, missing: new Set(WIDTHS), from: performance.now(), sent: false })
  try {
    // The server refuses it too, but only after it was on its way.
    if (file.size > LIMIT_MB * 1e6) throw new Error(`not uploaded: ${(file.size / 1e6).toFixed(1)} MB is more than ${LIMIT_MB} MB`)
    await send(key, file, progress)
    progress.remove()
    const waiting = pending.get(stem)
    if (waiting) {
      waiting.from = performance.now()
      waiting.sent = true
      told.textContent = 'uploaded; the sizes are being made'
      // Why a function failed is told to the operator alone; what comes later than this still counts.
      setTimeout(() => {
        if (pending.has(stem)) told.textContent = `not resized after ${PATIENCE_MS / 1000} s: it may be no picture that can be read`
      }, PATIENCE_MS)
      settle(stem, waiting)
    }
  } catch (error) {
    pending.delete(stem)
    progress.remove()
    told.classList.add('bad')
    told.textContent = error instanceof Error ? error.message : String(error)
  }
}

const drop = element<HTMLElement>('#drop')
const input = element<HTMLInputElement>('#file')
input.addEventListener('change', () => {
  for (const file of input.files ?? []) void upload(file)
  input.value = ''
})
for (const name of ['dragenter', 'dragover'])
  drop.addEventListener(name, (event) => {
    event.preventDefault()
    drop.classList.add('over')
  })
for (const name of ['dragleave', 'drop']) drop.addEventListener(name, () => drop.classList.remove('over'))
// A picture that misses the field must not take the place of the page.
for (const name of ['dragover', 'drop']) window.addEventListener(name, (event) => event.preventDefault())
drop.addEventListener('drop', (event) => {
  event.preventDefault()
  for (const file of event.dataTransfer?.files ?? []) void upload(file)
})

if (Number.isFinite(LIMIT_MB)) element('#limit').textContent = `, up to ${LIMIT_MB} MB`
watch()
await showAll()
