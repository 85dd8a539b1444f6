import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type Browser, chromium } from 'playwright-core'
import { makeFolder, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

const CHROMIUM = '/usr/bin/chromium'
const skip = existsSync(CHROMIUM) ? false : 'needs the package chromium'
const ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking']
ARGS.push('--disable-component-update', '--disable-sync')

describe('the console in Chromium', { skip }, () => {
  let folder = ''
  let node: RunningMayfly
  let browser: Browser
  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'))
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGS })
  })
  after(async () => {
    await browser?.close()
    await node?.stop()
    removeFolder(folder)
  })

  for (const [width, height] of [
    [360, 640],
    [1280, 800],
  ] as const) {
    it(`shows its page at ${width} pixels, light and dark, without an error, a scroll bar or a word to anyone else`, async () => {
      const backgrounds: string[] = []
      for (const colorScheme of ['light', 'dark'] as const) {
        const page = await browser.newPage({ viewport: { width, height }, colorScheme })
        const faults: string[] = []
        const asked: string[] = []
        page.on('console', (message) => void (['error', 'warning'].includes(message.type()) && faults.push(message.text())))
        page.on('pageerror', (error) => void faults.push(String(error)))
        page.on('requestfailed', (request) => void faults.push(`${request.url()} failed`))
        page.on('request', (request) => void asked.push(request.url()))
        const response = await page.goto(node.ready.console)
        assert.equal(response?.status(), 200)
        assert.match(response?.headers()['content-security-policy'] ?? '', /default-src 'none'.*frame-ancestors 'none'/)
        assert.equal(await page.title(), 'Mayfly console')
        assert.equal(await page.getByRole('heading', { level: 1 }).count(), 1)
        const { wide, colours } = await page.evaluate<{ wide: number; colours: string[] }>(`({
          wide: document.documentElement.scrollWidth,
          colours: [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('p')).color],
        })`)
        assert.ok(wide <= width, `${wide} pixels wide`)
        backgrounds.push(colours[0] as string)
        assert.ok(contrast(colours[0] as string, colours[1] as string) >= 4.5, `${colours.join(' on ')} can be read`)
        assert.deepEqual(faults, [])
        assert.deepEqual([...new Set(asked.map((url) => new URL(url).origin))], [new URL(node.ready.console).origin])
        if (process.env.MAYFLY_TEST_SHOTS) await page.screenshot({ path: path.join(process.env.MAYFLY_TEST_SHOTS, `console-${width}-${colorScheme}.png`) })
        await page.close()
      }
      assert.notEqual(backgrounds[0], backgrounds[1])
    })
  }
})

/** As WCAG 2 measures it. */
function contrast(one: string, other: string): number {
  const luminance = (colour: string) => {
    const [red = 0, green = 0, blue = 0] = (colour.match(/[\d.]+/g) ?? []).map((part) => {
      const level = Number(part) / 255
      return level <= 0.04045 ? level / 12.92 : ((level + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].toSorted((a, b) => a - b)
  return (light + 0.05) / (dark + 0.05)
}
