import { useSyncExternalStore } from 'react'

/** The parts of the address after `#/`, decoded: the project, the page, and what it shows. */
export type Place = readonly string[]

const hear = (changed: () => void) => {
  addEventListener('hashchange', changed)
  return () => removeEventListener('hashchange', changed)
}

export function usePlace(): Place {
  const hash = useSyncExternalStore(hear, () => location.hash)
  return hash.replace(/^#\/?/, '').split('/').map(decoded)
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

export const hrefOf = (...parts: readonly string[]): string => `#/${parts.map(encodeURIComponent).join('/')}`
