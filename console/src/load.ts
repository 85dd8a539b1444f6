import { useCallback, useEffect, useRef, useState } from 'react'

export interface Loaded<T> {
  /** What came last; stays while it is asked for again, and when that fails. */
  readonly value: T | null
  readonly error: unknown
  readonly again: () => void
}

/**
 * Asks, and asks again every `everyMs` while the page is seen; one question at a time, given up when nobody waits.
 * @param key  what is asked for: another key forgets what came
 */
export function useLoaded<T>(key: string, ask: (signal: AbortSignal) => Promise<T>, everyMs: number | null = null): Loaded<T> {
  const [state, setState] = useState<{ key: string; value: T | null; error: unknown }>({ key, value: null, error: null })
  const [turn, setTurn] = useState(0)
  const asked = useRef(ask)
  asked.current = ask
  // `turn` is among them so that `again` asks at once.
  useEffect(() => {
    const left = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    const go = async () => {
      if (document.hidden && everyMs !== null) {
        timer = setTimeout(go, everyMs)
        return
      }
      try {
        const value = await asked.current(left.signal)
        if (!left.signal.aborted) setState({ key, value, error: null })
      } catch (error) {
        if (!left.signal.aborted) setState((before) => ({ key, value: before.key === key ? before.value : null, error }))
      }
      if (everyMs !== null && !left.signal.aborted) timer = setTimeout(go, everyMs)
    }
    void go()
    return () => {
      clearTimeout(timer)
      left.abort()
    }
  }, [key, everyMs, turn])
  const again = useCallback(() => setTurn((before) => before + 1), [])
  return state.key === key ? { value: state.value, error: state.error, again } : { value: null, error: null, again }
}
