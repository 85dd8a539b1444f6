import { useSyncExternalStore } from 'react'
import { ko } from './ko.ts'

export type Language = 'en' | 'ko'
/** The English text is its own name: what is not in the Korean dictionary does not compile. */
export type Text = keyof typeof ko

const KEPT = 'mayfly-language'
const listeners = new Set<() => void>()
let current: Language = first()

function first(): Language {
  try {
    const kept = localStorage.getItem(KEPT)
    if (kept === 'en' || kept === 'ko') return kept
  } catch {
    // a browser that keeps nothing: the language it speaks
  }
  return navigator.language.toLowerCase().startsWith('ko') ? 'ko' : 'en'
}

export const language = (): Language => current

export function speak(next: Language): void {
  current = next
  document.documentElement.lang = next
  try {
    localStorage.setItem(KEPT, next)
  } catch {
    // kept for this page only
  }
  for (const hear of listeners) hear()
}

export const useLanguage = (): Language =>
  useSyncExternalStore((hear) => {
    listeners.add(hear)
    return () => listeners.delete(hear)
  }, language)

/** A text of the console in the language in force; `{name}` stands for a value. */
export function t(text: Text, values: Readonly<Record<string, string | number>> = {}): string {
  const words: string = current === 'ko' ? ko[text] : text
  return words.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole))
}

/** Why a text is no JSON; null when it is. */
export function faultOf(text: string): string | null {
  try {
    JSON.parse(text)
    return null
  } catch (error) {
    return t('Not JSON: {why}', { why: error instanceof Error ? error.message : '' })
  }
}

/** JSON with a line for each value; what is none stays as it is. */
export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}
