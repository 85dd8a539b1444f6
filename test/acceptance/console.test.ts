import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Browser } from 'playwright-core'
import { launchBrowser, skip } from './browser.ts'
import { makeFolder, mayfly, ROOT, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

const isBuilt = existsSync(path.join(ROOT, 'console', 'dist', 'index.html'))

describe('the console in Chromium', { skip }, () => {
  let folder = ''
  let node: RunningMayfly
  let browser: Browser
  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'))
    browser = await launchBrowser()
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
    it(`shows its page at ${width} pixels, light and dark, without a scroll bar or a word to anyone else`, async () => {
      for (const colorScheme of ['light', 'dark'] as const) {
        const page = await browser.newPage({ viewport: { width, height }, colorScheme })
        const faults: string[] = []
        const asked: string[] = []
        page.on('console', (message) => void (/Content.Security.Policy|refused/i.test(message.text()) && faults.push(message.text())))
        page.on('pageerror', (error) => void faults.push(String(error)))
        page.on('request', (request) => void asked.push(request.url()))
        const response = await page.goto(node.ready.console, { waitUntil: 'networkidle' })
        assert.equal(response?.status(), isBuilt ? 200 : 503)
        const policy = response?.headers()['content-security-policy'] ?? ''
        assert.match(policy, /default-src 'none'.*frame-ancestors 'none'/)
        assert.doesNotMatch(policy, /unsafe/)
        assert.match(await page.title(), /Mayfly/)
        const wide = await page.evaluate<number>('document.documentElement.scrollWidth')
        assert.ok(wide <= width, `${wide} pixels wide`)
        assert.deepEqual(faults, [])
        assert.deepEqual([...new Set(asked.map((url) => new URL(url).origin))], [new URL(node.ready.console).origin])
        if (process.env.MAYFLY_TEST_SHOTS) await page.screenshot({ path: path.join(process.env.MAYFLY_TEST_SHOTS, `console-${width}-${colorScheme}.png`) })
        await page.close()
      }
    })
  }

  it('is signed in by the printed address, and the code does not stay in the address', {
    skip: isBuilt ? false : 'needs the console to be built',
  }, async () => {
    const page = await browser.newPage()
    const { stdout } = mayfly(['console', '--data', node.data])
    await page.goto(stdout.trim())
    // It leaves the address at once; who is signed in sees the pages, after the answer.
    await page.getByRole('navigation').waitFor()
    assert.doesNotMatch(page.url(), /code=/)
    assert.equal(await page.evaluate<number>("fetch('/session').then((reply) => reply.status)"), 200)
    assert.equal(await page.evaluate<string>('document.cookie'), '')
    await page.close()
  })
})
