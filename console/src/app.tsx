import { type ReactNode, useEffect, useRef } from 'react'
import type { Session } from './api.ts'
import { Caught } from './caught.tsx'
import { BucketPage } from './pages/bucket.tsx'
import { BucketsPage } from './pages/buckets.tsx'
import { EventsPage } from './pages/events.tsx'
import { FunctionPage } from './pages/function.tsx'
import { FunctionsPage } from './pages/functions.tsx'
import { LifePage } from './pages/life.tsx'
import { QueuePage } from './pages/message-queue.tsx'
import { OverviewPage } from './pages/overview.tsx'
import { QueuesPage } from './pages/queues.tsx'
import { SandboxesPage } from './pages/sandboxes.tsx'
import { SecretsPage } from './pages/secrets.tsx'
import { UrlsPage } from './pages/urls.tsx'
import { UsagePage } from './pages/usage.tsx'
import { CopyButton, Failure } from './parts.tsx'
import { hrefOf, usePlace } from './route.ts'
import { useSession } from './session.ts'
import { speak, type Text, t, useLanguage } from './text.ts'

export function App() {
  useLanguage() // another language draws all of it again
  const { standing, again, leave } = useSession()
  switch (standing.state) {
    case 'asking':
      return (
        <Gate>
          <p className="loading">{t('Loading…')}</p>
        </Gate>
      )
    case 'failed':
      return (
        <Gate>
          <Failure error={standing.error} again={again} />
        </Gate>
      )
    case 'out':
      return <SignIn error={standing.error} />
    case 'in':
      return <Console session={standing.session} leave={leave} />
  }
}

function Gate({ children }: { children: ReactNode }) {
  useEffect(() => {
    document.title = t('Mayfly console')
  }, [])
  return (
    <main className="gate">
      <Brand />
      <h1>{t('Mayfly console')}</h1>
      {children}
    </main>
  )
}

function SignIn({ error }: { error: unknown }) {
  return (
    <Gate>
      {error !== null && <Failure error={error} />}
      <p>{t('You are not signed in. On the machine where the node runs, type:')}</p>
      <p className="command">
        <code>npx mayfly console</code>
        <CopyButton text="npx mayfly console" label={t('Copy the command')} />
      </p>
      <p>{t('It prints a link to this page that works once, within 15 minutes.')}</p>
      <LanguageButton />
    </Gate>
  )
}

const PAGES = [
  ['', 'Overview', 'M3 12 12 4l9 8M6 10v10h12V10'],
  ['functions', 'Functions', 'M13 3 5 14h6l-1 7 9-12h-6z'],
  ['urls', 'Function URLs', 'M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-6-6l-1.5 1.5M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 6 6l1.5-1.5'],
  ['secrets', 'Secrets', 'M14.5 9.5a4.5 4.5 0 1 0-4 4.5l1.5 1.5h2v2h2v2h3v-3l-5-5a4.5 4.5 0 0 0 .5-2zM8.5 9h.01'],
  ['buckets', 'Buckets', 'M4 7h16l-2 13H6zM4 7c0-2 3.6-3 8-3s8 1 8 3'],
  ['queues', 'Queues', 'M3 8h18v8H3zM9 8v8M15 8v8'],
  ['events', 'Events', 'M4 6h16M4 12h16M4 18h9'],
  ['sandboxes', 'Sandboxes', 'M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12 4 7.5'],
  ['usage', 'Usage', 'M5 20v-7M12 20V5M19 20v-10'],
] as const satisfies readonly (readonly [string, Text, string])[]

function Console({ session, leave }: { session: Session; leave: () => Promise<void> }) {
  const [ref = '', page = '', ...rest] = usePlace()
  const main = useRef<HTMLElement>(null)
  const here = `${ref}/${page}/${rest.join('/')}`
  const before = useRef(here)
  useEffect(() => {
    if (ref === '') history.replaceState(null, '', hrefOf(session.defaultProject))
    if (before.current === here) return
    before.current = here
    // Who moves by keyboard or hears the page begins at its head.
    main.current?.focus({ preventScroll: true })
    scrollTo(0, 0)
  })
  // Where the pages stand in a row that scrolls, the one that is shown is in sight.
  useEffect(() => {
    document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' })
  }, [page])
  const project = ref === '' ? session.defaultProject : ref
  const known = session.projects.some((one) => one.ref === project)
  return (
    <div className="frame">
      <button type="button" className="skip" onClick={() => main.current?.focus()}>
        {t('To the content')}
      </button>
      <header className="top">
        <a className="brand" href={hrefOf(project)} aria-label={t('Mayfly console')}>
          <Brand />
          <span>Mayfly</span>
        </a>
        <label>
          <span className="unseen">{t('Project')}</span>
          <select value={known ? project : ''} onChange={(event) => (location.hash = hrefOf(event.target.value, ...(page === '' ? [] : [page])))}>
            {!known && <option value="">{t('Choose a project')}</option>}
            {session.projects.map((one) => (
              <option key={one.ref} value={one.ref}>
                {one.name === one.ref ? one.ref : `${one.name} (${one.ref})`}
              </option>
            ))}
          </select>
        </label>
        <span className="grow" />
        <LanguageButton />
        <button type="button" className="quiet" onClick={() => void leave()}>
          {t('Sign out')}
        </button>
      </header>
      <nav aria-label={t('Pages')}>
        {PAGES.map(([name, title, icon]) => (
          <a key={name} href={hrefOf(project, ...(name === '' ? [] : [name]))} aria-current={page === name ? 'page' : undefined}>
            <svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true">
              <path d={icon} />
            </svg>
            {t(title)}
          </a>
        ))}
      </nav>
      <main id="main" ref={main} tabIndex={-1}>
        {known ? (
          <Caught key={here}>
            <Shown session={session} project={project} page={page} rest={rest} />
          </Caught>
        ) : (
          <Nowhere what={t('There is no project “{name}”.', { name: project })} />
        )}
      </main>
    </div>
  )
}

function Shown({ session, project, page, rest }: { session: Session; project: string; page: string; rest: readonly string[] }) {
  const [name = '', ...path] = rest
  switch (page) {
    case '':
      return <OverviewPage project={project} session={session} />
    case 'functions':
      return name === '' ? <FunctionsPage project={project} /> : <FunctionPage project={project} name={name} />
    case 'urls':
      return <UrlsPage key={project} project={project} />
    case 'secrets':
      return <SecretsPage key={project} project={project} />
    case 'sandboxes':
      return <SandboxesPage project={project} />
    case 'buckets':
      return name === '' ? <BucketsPage project={project} /> : <BucketPage project={project} session={session} bucket={name} folder={path.filter(Boolean)} />
    case 'queues':
      return name === '' ? <QueuesPage project={project} /> : <QueuePage project={project} name={name} />
    case 'events':
      if (name !== '' && name !== 'of') return <LifePage key={name} project={project} id={name} />
      return <EventsPage key={`${project} ${path.join('/')}`} project={project} first={name === '' ? '' : (path[0] ?? '')} />
    case 'usage':
      return <UsagePage project={project} />
    default:
      return <Nowhere what={t('There is no such page.')} />
  }
}

const Nowhere = ({ what }: { what: string }) => (
  <>
    <h1>{what}</h1>
    <p>
      <a href="#/">{t('To the overview')}</a>
    </p>
  </>
)

function LanguageButton() {
  const other = useLanguage() === 'ko' ? 'en' : 'ko'
  return (
    <button type="button" className="quiet" lang={other} onClick={() => speak(other)}>
      {other === 'ko' ? '한국어' : 'English'}
    </button>
  )
}

const Brand = () => (
  <svg className="logo" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
    <rect width="32" height="32" rx="7" fill="#0b6e63" />
    <path d="M16 27V13" stroke="#fff" strokeWidth="2.4" strokeLinecap="round" />
    <path d="M16 14C12 6 7 4 5 6s1 8 11 10C26 14 29 8 27 6s-7 0-11 8z" fill="#fff" />
    <path d="M16 17c-4 0-8 2-7 5s6 0 7-5c1 5 6 8 7 5s-3-5-7-5z" fill="#9fded3" />
  </svg>
)
