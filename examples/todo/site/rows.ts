export const element = <T extends HTMLElement = HTMLElement>(selector: string): T => document.querySelector(selector) as T

export function make<K extends keyof HTMLElementTagNameMap>(name: K, className = '', text = ''): HTMLElementTagNameMap[K] {
  const made = document.createElement(name)
  if (className !== '') made.className = className
  made.textContent = text
  return made
}

/** Makes the rows of a list equal to what is there now. A row that stays keeps its element, and with it the focus. */
export function showRows<T extends { readonly id: string }>(list: HTMLElement, things: readonly T[], fill: (row: HTMLLIElement, thing: T) => void): void {
  const before = new Map([...list.children].map((row) => [(row as HTMLElement).dataset.id, row as HTMLLIElement]))
  let at = list.firstElementChild
  for (const thing of things) {
    let row = before.get(thing.id)
    before.delete(thing.id)
    if (!row) {
      row = make('li')
      row.dataset.id = thing.id
    }
    if (row === at) at = at.nextElementSibling
    else list.insertBefore(row, at)
    fill(row, thing)
  }
  for (const row of before.values()) row.remove()
}
