import assert from 'node:assert/strict'
import path from 'node:path'
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { launchBrowser } from './browser.ts'
import { mayfly, type RunningMayfly } from './harness.ts'

/** What a reader with a keyboard, a screen reader or weak eyes would stumble over, and what is wider than the window. */
export const LOOK = `(() => {
  const faults = []
  const level = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
  const probe = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  // A page has few colours, and each of its words asks for those of all that it stands in.
  const known = new Map()
  const rgba = (colour) => {
    if (known.has(colour)) return known.get(colour)
    probe.clearRect(0, 0, 1, 1)
    probe.fillStyle = colour
    probe.fillRect(0, 0, 1, 1)
    const found = [...probe.getImageData(0, 0, 1, 1).data]
    known.set(colour, found)
    return found
  }
  const light = ([red, green, blue]) => 0.2126 * level(red / 255) + 0.7152 * level(green / 255) + 0.0722 * level(blue / 255)
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor
      if (rgba(colour)[3] === 255) return colour
    }
    return 'white'
  }
  const shown = (element) => element.checkVisibility() && element.getClientRects().length > 0 && element.getBoundingClientRect().width > 1
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement
    if (node.data.trim() === '' || !shown(element)) continue
    const style = getComputedStyle(element)
    const [dark, bright] = [light(rgba(element.closest('svg') ? style.fill : style.color)), light(rgba(ground(element)))].sort((a, b) => a - b)
    const ratio = (bright + 0.05) / (dark + 0.05)
    if (ratio < 4.5) faults.push('contrast ' + ratio.toFixed(2) + ': ' + node.data.trim().slice(0, 40))
  }
  for (const element of document.querySelectorAll('button, a, input:not([hidden]), select, textarea, progress')) {
    if (!shown(element)) continue
    const name = element.ariaLabel || element.textContent.trim() || element.labels?.[0]?.textContent.trim()
    if (!name) faults.push('no name: ' + element.outerHTML.slice(0, 120))
  }
  for (const element of document.querySelectorAll('.card, .figure, .figure dd, td, button, .badge')) {
    if (shown(element) && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0) faults.push('runs out of its box: ' + element.textContent.slice(0, 60))
  }
  if (document.querySelectorAll('h1').length !== 1) faults.push('headings of the first level: ' + document.querySelectorAll('h1').length)
  if (document.documentElement.scrollWidth > innerWidth) {
    const widest = [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1).at(-1)
    faults.push('wider than the window: ' + document.documentElement.scrollWidth + ' ' + widest?.outerHTML.slice(0, 200))
  }
  return faults
})()`

/** With MAYFLY_TEST_SHOTS a picture of the page is put there. */
export async function shot(page: Page, name: string): Promise<void> {
  if (process.env.MAYFLY_TEST_SHOTS) await page.screenshot({ path: path.join(process.env.MAYFLY_TEST_SHOTS, `${name}.png`), fullPage: true })
}

export const card = (page: Page, title: string): Locator => page.locator('section.card', { has: page.getByRole('heading', { name: title, exact: true }) })

/** By the debugger's own door: the pages' policy lets no text be run as code. */
export async function until(page: Page, expression: string): Promise<void> {
  for (let turn = 0; turn < 150; turn++) {
    if (await page.evaluate(expression)) return
    await page.waitForTimeout(100)
  }
  assert.fail(`never came true: ${expression}`)
}

export const settled = (page: Page): Promise<void> =>
  until(page, "document.querySelector('main') && !document.querySelector('.loading') && document.getAnimations().length === 0")

/** A browser for the console of one node. */
export class ConsoleBrowser implements AsyncDisposable {
  readonly #browser: Browser
  readonly #node: RunningMayfly
  readonly #open: BrowserContext[] = []
  #signedIn: Exclude<BrowserContextOptions['storageState'], string | undefined> = { cookies: [], origins: [] }

  private constructor(browser: Browser, node: RunningMayfly) {
    this.#browser = browser
    this.#node = node
  }

  static async launch(node: RunningMayfly): Promise<ConsoleBrowser> {
    return new ConsoleBrowser(await launchBrowser(), node)
  }

  /** Pages that are opened from here on are signed in. */
  async signIn(): Promise<void> {
    const { page } = await this.open()
    await page.goto(mayfly(['console', '--data', this.#node.data]).stdout.trim())
    await page.getByRole('navigation').waitFor()
    this.#signedIn = await page.context().storageState()
  }

  /** A page, and what it should not have done so far. */
  async open(options: BrowserContextOptions = {}): Promise<{ page: Page; faults: string[] }> {
    const context = await this.#browser.newContext({ storageState: this.#signedIn, viewport: { width: 1280, height: 800 }, ...options })
    this.#open.push(context)
    await context.addInitScript(
      `addEventListener('securitypolicyviolation', (event) => console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI))`,
    )
    const page = await context.newPage()
    page.setDefaultTimeout(40_000)
    const faults: string[] = []
    const own = new URL(this.#node.ready.console).origin
    // Another node of this machine that comes or goes changes its network: Chromium asks again.
    const isOwn = (text: string) => !text.includes('ERR_NETWORK_CHANGED')
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type()) && isOwn(message.text())) faults.push(`${message.text()} ${message.location().url}`)
    })
    page.on('pageerror', (error) => void faults.push(String(error)))
    page.on('request', (request) => {
      const { protocol, origin } = new URL(request.url())
      if (protocol !== 'blob:' && protocol !== 'data:' && origin !== own) faults.push(`asked ${request.url()}`)
    })
    page.on('requestfailed', (request) => {
      // A stream or a question that nobody waits for any more is given up.
      const why = request.failure()?.errorText ?? ''
      if (why !== 'net::ERR_ABORTED' && isOwn(why)) faults.push(`${request.url()}: ${why}`)
    })
    return { page, faults }
  }

  async closePages(): Promise<void> {
    for (const context of this.#open.splice(0)) await context.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close()
  }
}

/** What \`LOOK\` finds on a page that moves no more: a colour on its way to another has any contrast. */
export async function look(page: Page): Promise<unknown> {
  await settled(page)
  return await page.evaluate(LOOK)
}
