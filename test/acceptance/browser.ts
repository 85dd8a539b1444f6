import { existsSync } from 'node:fs'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

// The shell is the same engine without a browser's own pages and processes: it takes a quarter of the processor time.
const CHROMIUM = ['/usr/lib/chromium/chromium-headless-shell', '/usr/bin/chromium'].find((program) => existsSync(program))
export const skip = CHROMIUM === undefined ? 'needs the package chromium-headless-shell, or chromium' : false
const ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking']
ARGS.push('--disable-component-update', '--disable-sync')

export async function launchBrowser(more: readonly string[] = []): Promise<Browser> {
  const browser = await chromium.launch({ ...(CHROMIUM === undefined ? {} : { executablePath: CHROMIUM }), args: [...ARGS, ...more] })
  const newContext = browser.newContext.bind(browser)
  browser.newContext = async (options?: BrowserContextOptions) => (await newContext(options)).on('page', goAgain)
  return browser
}

/** Other nodes that run beside the test make interfaces, at which Chromium gives up what it loads. */
function goAgain(page: Page): void {
  const goto = page.goto.bind(page)
  page.goto = async (...to) => {
    try {
      return await goto(...to)
    } catch (error) {
      if (!String(error).includes('ERR_NETWORK_CHANGED')) throw error
      return await goto(...to)
    }
  }
}

/** Ratio of the contrast of every element that has words of its own, with what it says. */
export const CONTRASTS = `(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const paint = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data] }
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0)
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) { const found = paint(getComputedStyle(at).backgroundColor); if (found[3] === 255) return found }
    return [255, 255, 255, 255]
  }
  return [...document.querySelectorAll('body *')]
    .filter((one) => one.checkVisibility() && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((one) => {
      const [high, low] = [light(paint(getComputedStyle(one).color)), light(behind(one))].sort((a, b) => b - a)
      return [one.textContent.trim(), (high + 0.05) / (low + 0.05)]
    })
})()`
