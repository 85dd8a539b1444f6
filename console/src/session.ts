import { useCallback, useEffect, useState } from 'react'
import { ApiError, api, onSessionLost, type Session } from './api.ts'

export type Standing =
  | { readonly state: 'asking' }
  | { readonly state: 'in'; readonly session: Session }
  | { readonly state: 'out'; readonly error: unknown }
  | { readonly state: 'failed'; readonly error: unknown }

/** The one-time code of the address, which is taken out of it at once: no history, no copied link keeps it. */
function takeCode(): string | null {
  const code = /^#code=([^&]+)/.exec(location.hash)?.[1] ?? null
  if (code !== null) history.replaceState(null, '', '/#/')
  return code
}

async function standing(code: string | null): Promise<Standing> {
  let refused: unknown = null
  if (code !== null) {
    try {
      await api.login(code)
    } catch (error) {
      if (!(error instanceof ApiError)) return { state: 'failed', error }
      refused = error
    }
  }
  try {
    // A code that was refused does not end a session that is there.
    return { state: 'in', session: await api.session(new AbortController().signal) }
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return { state: 'out', error: refused }
    return { state: 'failed', error }
  }
}

/** Asked once a page, not once a mount: a code can be used once. */
let first: Promise<Standing> | null = null

export function useSession(): { standing: Standing; again: () => void; leave: () => Promise<void> } {
  const [now, setNow] = useState<Standing>({ state: 'asking' })
  useEffect(() => {
    onSessionLost(() => setNow((before) => (before.state === 'in' ? { state: 'out', error: null } : before)))
    first ??= standing(takeCode())
    void first.then(setNow)
    const pasted = () => {
      const code = takeCode()
      if (code !== null) void standing(code).then(setNow)
    }
    addEventListener('hashchange', pasted)
    return () => removeEventListener('hashchange', pasted)
  }, [])
  const again = useCallback(() => {
    setNow({ state: 'asking' })
    void standing(null).then(setNow)
  }, [])
  const leave = useCallback(async () => {
    await api.logout()
    setNow({ state: 'out', error: null })
  }, [])
  return { standing: now, again, leave }
}
