import { createClient } from '@supabase/supabase-js'

const WIDTHS = ['64', '256', '1024'] as const
const SHOWN = 60
const MAX_BYTES = 20_000_000
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

// ── the gallery: a card for each picture, filled as its versions come ──

const cards = new Map<string, HTMLElement>()

/** `mb2k3j9x07f1-cat.jpg` was uploaded as `cat.jpg`: what stands before keeps names apart and in order of time. */
const shownName = (stem: string) => stem.replace(/^[0-9a-z]{8,12}-/, '')
const none = element<HTMLElement>('#none')

function cardOf(stem: string): HTMLElement {
  const known = cards.get(stem)
  if (known) return known
  const card = make('li', 'card')
  card.dataset.stem = stem
  const versions = make('div', 'versions')
  const name = make('p', 'name', shownName(stem))
  name.title = shownName(stem)
  card.append(name, versions)
  const gallery = element<HTMLElement>('#gallery')
  // The newest first, whatever comes first.
  const next = [...gallery.children].find((other) => ((other as HTMLElement).dataset.stem ?? '') < stem)
  gallery.insertBefore(card, next ?? null)
  cards.set(stem, card)
  none.hidden = true
  return card
}

function show(stem: string, width: string, row: { readonly id: string; readonly updated_at: string }): void {
  const card = cardOf(stem)
  const versions = card.querySelector('.versions') as HTMLElement
  const { publicUrl } = thumbnails.getPublicUrl(`${stem}/${width}.webp`).data
  card.querySelector(`[data-version="${width}"]`)?.remove()
  const link = make('a', '') as HTMLAnchorElement
  link.dataset.version = width
  link.dataset.id = row.id
  link.href = publicUrl
  const image = make('img', '') as HTMLImageElement
  image.dataset.width = width
  image.alt = `${shownName(stem)}, ${width} pixels wide`
  image.src = `${publicUrl}?v=${encodeURIComponent(row.updated_at)}`
  link.append(image, `${width} px`)
  const after = [...versions.children].find((other) => Number((other as HTMLElement).dataset.version) > Number(width))
  versions.insertBefore(link, after ?? null)
  finish(stem)
}

function forget(stem: string): void {
  cards.get(stem)?.remove()
  cards.delete(stem)
  none.hidden = cards.size > 0
}

/** Of what is gone only the id is told. */
function hide(id: string): void {
  const link: HTMLElement | null = document.querySelector<HTMLElement>(`[data-id="${CSS.escape(id)}"]`)
  const card = link?.closest<HTMLElement>('.card')
  link?.remove()
  if (card && !card.querySelector('a')) forget(card.dataset.stem ?? '')
}

function partsOf(name: string): [string, string] | [null, null] {
  const found = /^(.*)\/(\d+)\.webp$/.exec(name)
  return found?.[1] !== undefined && found[2] !== undefined ? [found[1], found[2]] : [null, null]
}

/** Makes the gallery equal to what is there now: what came and what went while nobody listened. */
async function showAll(): Promise<void> {
  const before = [...cards.keys()]
  const { data: folders, error } = await thumbnails.list('', { limit: SHOWN, sortBy: { column: 'name', order: 'desc' } })
  if (error) return
  for (const folder of folders) {
    if (folder.id !== null) continue
    const { data: files } = await thumbnails.list(folder.name)
    for (const file of files ?? []) {
      const [stem, width] = partsOf(`${folder.name}/${file.name}`)
      if (stem !== null && file.id !== null) show(stem, width, { id: file.id, updated_at: file.updated_at ?? '' })
    }
  }
  none.hidden = cards.size > 0
  if (folders.length === SHOWN) return
  // A picture in a folder of its own is listed by that folder alone.
  const there = new Set(folders.map((folder) => folder.name))
  for (const stem of before) if (!there.has(stem.split('/')[0] ?? '')) forget(stem)
}

// ── what comes while the page is open ──

interface ObjectRow {
  readonly id: string
  readonly name: string
  readonly updated_at: string
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

const pending = new Map<string, { told: HTMLElement; missing: Set<string>; from: number }>()

function finish(stem: string): void {
  const upload = pending.get(stem)
  if (!upload) return
  for (const width of WIDTHS) if (cards.get(stem)?.querySelector(`[data-version="${width}"]`)) upload.missing.delete(width)
  if (upload.missing.size > 0) return
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
  pending.set(stem, { told, missing: new Set(WIDTHS), from: performance.now() })
  try {
    // The server refuses it too, but only after it was on its way.
    if (file.size > MAX_BYTES) throw new Error(`not uploaded: ${(file.size / 1e6).toFixed(1)} MB is more than 20 MB`)
    await send(key, file, progress)
    progress.remove()
    const waiting = pending.get(stem)
    if (waiting) {
      waiting.from = performance.now()
      told.textContent = 'uploaded; the sizes are being made'
      // Why a function failed is told to the operator alone; what comes later than this still counts.
      setTimeout(() => {
        if (pending.has(stem)) told.textContent = `not resized after ${PATIENCE_MS / 1000} s: it may be no picture that can be read`
      }, PATIENCE_MS)
      finish(stem)
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

watch()
await showAll()
