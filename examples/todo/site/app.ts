import { createClient, type User } from '@supabase/supabase-js'
import type { Database } from './database.ts'
import { element, make, showRows } from './rows.ts'
import { chooseLanguage, currentLanguage, type Language, say, sayError, translate } from './words.ts'

interface List {
  readonly id: string
  readonly title: string
  readonly owner: string
  readonly owner_name: string
  readonly members: readonly { readonly id: string; readonly user_id: string; readonly name: string }[]
  readonly todos: readonly { readonly id: string; readonly text: string; readonly done: boolean }[]
}

const project = (await (await fetch('/_mayfly/project.json')).json()) as { url: string; publishableKey: string }
const client = createClient<Database>(project.url, project.publishableKey)

// ── what is shown ──

let user: User | null = null
let lists: readonly List[] = []
let chosen: string | null = null
/** The code of an invitation whose link was opened. */
let invited = /^#invitation=([0-9a-f-]{36})$/.exec(location.hash)?.[1] ?? null
let isLive = false

const message = element('#message')
function tell(text: string, isBad = false): void {
  message.textContent = text
  message.classList.toggle('bad', isBad)
  message.hidden = text === ''
}

type Failure = Parameters<typeof sayError>[0]
/** Does what was asked for, says what went wrong in words, and shows what is there now. */
async function attempt(work: () => PromiseLike<{ readonly error: Failure | null }>): Promise<boolean> {
  tell('')
  const { error } = await work()
  if (error) tell(sayError(error), true)
  await load()
  return error === null
}

function show(): void {
  translate(document)
  for (const button of document.querySelectorAll<HTMLElement>('[data-language]'))
    button.setAttribute('aria-pressed', String(button.dataset.language === currentLanguage()))
  element('#user').hidden = user === null
  element('#name').textContent = user?.email ?? ''
  element('#door').hidden = user !== null
  element('#app').hidden = user === null
  element('#invited').hidden = invited === null
  const live = element('#live')
  live.dataset.state = isLive ? 'live' : 'waiting'
  live.textContent = say(isLive ? 'live' : 'waiting')
  showLists(user)
}

/** Of what a user saw nothing stays in the page when he has signed out. */
function showLists(me: User | null): void {
  const list = lists.find(({ id }) => id === chosen) ?? lists[0]
  element('#no-lists').hidden = lists.length > 0
  showRows(element('#lists'), lists, (row, { id, title, owner, owner_name }) => {
    let button = row.querySelector('button')
    if (!button) {
      button = make('button')
      button.type = 'button'
      button.addEventListener('click', () => choose(id))
      row.append(button)
    }
    button.replaceChildren(title, ...(owner === me?.id ? [] : [make('small', '', say('shared', owner_name))]))
    button.setAttribute('aria-current', String(id === list?.id))
  })
  element('#list').hidden = !list
  element('#list-title').textContent = list?.title ?? ''
  element('#no-todos').hidden = !list || list.todos.length > 0
  showRows(element('#todos'), list?.todos ?? [], showTodo)
  const isOwner = list?.owner === me?.id
  const people = list ? [{ id: list.owner, user_id: list.owner, name: list.owner_name }, ...list.members] : []
  showRows(element('#people'), people, (row, { id, user_id, name }) => {
    const roles = [user_id === me?.id && say('you'), user_id === list?.owner && say('owner')].filter((role) => role !== false)
    if (!row.firstChild) {
      row.append(make('span'))
      if (isOwner && user_id !== me?.id) row.append(dropButton(() => attempt(() => client.from('members').delete().eq('id', id))))
    }
    nameRow(row, name)
    row.children[0]?.replaceChildren(roles.length > 0 ? `${name} (${roles.join(', ')})` : name)
  })
  element('#invite').hidden = !isOwner
  element('#remove-list').hidden = !isOwner
  element('#leave').hidden = isOwner
}

function showTodo(row: HTMLLIElement, { id, text, done }: List['todos'][number]): void {
  let box = row.querySelector('input')
  if (!box) {
    const made = make('input')
    made.type = 'checkbox'
    made.addEventListener('change', () => attempt(() => client.from('todos').update({ done: made.checked }).eq('id', id)))
    const label = make('label')
    label.append(made, make('span', '', text))
    row.append(
      label,
      dropButton(() => attempt(() => client.from('todos').delete().eq('id', id))),
    )
    box = made
  }
  box.checked = done
  nameRow(row, text)
}

/** What its button removes, for those who hear the page. */
const nameRow = (row: HTMLLIElement, name: string) => row.querySelector('.drop')?.setAttribute('aria-label', say('remove', name))

function dropButton(drop: () => unknown): HTMLButtonElement {
  const button = make('button', 'drop', '×')
  button.type = 'button'
  button.addEventListener('click', drop)
  return button
}

function choose(id: string | null): void {
  chosen = id
  element('#invitation').hidden = true
  show()
}

// ── what is there ──

let reading: Promise<void> | null = null
let isStale = false
/** Reads all that this user sees. Whoever asks while it is being read has it read once more. */
function load(): Promise<void> {
  isStale = true
  reading ??= (async () => {
    try {
      while (isStale) {
        isStale = false
        await read()
      }
    } finally {
      reading = null
    }
  })()
  return reading
}

async function read(): Promise<void> {
  const asked = user?.id
  if (asked === undefined) return show()
  const { data, error } = await client
    .from('lists')
    .select('id, title, owner, owner_name, members(id, user_id, name), todos(id, text, done)')
    .order('created_at')
    .order('name', { referencedTable: 'members' })
    .order('created_at', { referencedTable: 'todos' })
  if (user?.id !== asked) return
  if (error) return tell(sayError(error), true)
  lists = data
  show()
}

/** Of what is deleted everyone is told the key: only what is on this page makes it read again. */
const isShown = (id: string) => lists.some((list) => [list, ...list.members, ...list.todos].some((row) => row.id === id))

function watch(): void {
  const channel = client.channel('changes')
  for (const table of ['lists', 'members', 'todos'] as const)
    channel.on('postgres_changes', { event: '*', schema: 'public', table }, (change) => {
      if (change.eventType !== 'DELETE' || isShown((change.old as { id: string }).id)) void load()
    })
  channel.subscribe((status) => {
    isLive = status === 'SUBSCRIBED'
    // What happened while nobody listened is read, not heard.
    if (isLive) void load()
    else show()
  })
}

let turns = 0
/** Another user, or nobody: nothing of the one before stays. */
async function become(next: User | null): Promise<void> {
  if (next?.id === user?.id) return
  const turn = ++turns
  user = next
  lists = []
  isLive = false
  choose(null)
  await client.removeAllChannels()
  // Somebody else may have come meanwhile, for whom all this is done again.
  if (!user || turn !== turns) return
  if (invited !== null) {
    element<HTMLInputElement>('#code').value = invited
    tell(say('invitedHere'))
    element('#code').focus()
    invited = null
    history.replaceState(null, '', location.pathname)
  }
  watch()
  await load()
}

// ── what is done ──

const typedIn = (selector: string) => element<HTMLInputElement>(selector).value.trim()
/** Calls with what was typed, and empties the field when it came through. */
function onSubmit(form: string, field: string, work: (text: string) => PromiseLike<boolean>): void {
  element(form).addEventListener('submit', async (event) => {
    event.preventDefault()
    if (await work(typedIn(field))) element<HTMLInputElement>(field).value = ''
  })
}
const shownList = () => lists.find(({ id }) => id === chosen) ?? lists[0]

element('#sign').addEventListener('submit', async (event) => {
  event.preventDefault()
  const isNew = ((event as SubmitEvent).submitter as HTMLButtonElement | null)?.value === 'up'
  const credentials = { email: typedIn('#email'), password: element<HTMLInputElement>('#password').value }
  if (await attempt(() => (isNew ? client.auth.signUp(credentials) : client.auth.signInWithPassword(credentials)))) element<HTMLFormElement>('#sign').reset()
})
// Of this browser alone: who signs out here stays signed in elsewhere.
element('#sign-out').addEventListener('click', () => attempt(() => client.auth.signOut({ scope: 'local' })))

onSubmit('#make', '#new-list', (title) =>
  attempt(async () => {
    const made = await client.from('lists').insert({ title }).select('id').single()
    if (made.data) choose(made.data.id)
    return made
  }),
)
onSubmit('#join', '#code', (text) =>
  attempt(async () => {
    // The whole link does as well as the code in it.
    const joined = await client.rpc('join_list', { code: text.replace(/^.*#invitation=/, '') })
    if (joined.data) choose(joined.data)
    return joined
  }),
)
onSubmit('#add', '#new-todo', async (text) => {
  const list = shownList()
  return list !== undefined && (await attempt(() => client.from('todos').insert({ list_id: list.id, text })))
})

element('#invite').addEventListener('click', () => {
  const list = shownList()
  if (!list) return
  return attempt(async () => {
    const made = await client.from('invitations').insert({ list_id: list.id }).select('code').single()
    if (made.data) {
      element<HTMLInputElement>('#link').value = `${location.origin}${location.pathname}#invitation=${made.data.code}`
      element('#invitation').hidden = false
      element<HTMLInputElement>('#link').select()
    }
    return made
  })
})
element('#copy').addEventListener('click', async () => {
  const link = element<HTMLInputElement>('#link')
  link.select()
  // Pages without TLS have no clipboard: what is selected is copied by hand there.
  await navigator.clipboard?.writeText(link.value).then(
    () => tell(say('copied')),
    () => {},
  )
})
element('#leave').addEventListener('click', () => {
  const mine = shownList()?.members.find(({ user_id }) => user_id === user?.id)
  if (mine) return attempt(() => client.from('members').delete().eq('id', mine.id))
})
element('#remove-list').addEventListener('click', () => {
  const list = shownList()
  if (list && confirm(say('sure', list.title))) return attempt(() => client.from('lists').delete().eq('id', list.id))
})
for (const button of document.querySelectorAll<HTMLElement>('[data-language]'))
  button.addEventListener('click', () => {
    chooseLanguage(button.dataset.language as Language)
    tell('')
    show()
  })

// The client must not be asked while it tells of a change: it is asked afterwards.
client.auth.onAuthStateChange((_event, session) => void setTimeout(() => become(session?.user ?? null), 0))
show()
