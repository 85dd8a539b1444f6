import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { launchBrowser, skip } from './browser.ts'
import { deployFiles } from './door-fixture.ts'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

/** A page that keeps a secret in every place where a page may, and marks that its script ran. */
const secretive = (name: string) => `<!doctype html><title>${name}</title><p id="secret">secret of ${name}</p><script>
document.title = '${name} ran'
try { document.cookie = 'own_${name}=secret; path=/' } catch {}
try { localStorage.setItem('own', 'secret of ${name}') } catch {}
</script>`

type Place = 'console' | 'function' | 'stored' | 'site' | 'other site' | 'other port' | 'opaque'
const PLACES: readonly Place[] = ['console', 'function', 'stored', 'site', 'other site', 'other port']
/** Where scripts run at all; that of an opaque origin would be one of the API's origin that escaped its policy. */
const ACTORS: readonly Place[] = ['console', 'site', 'other site', 'other port', 'opaque']

describe('origins in Chromium', { skip }, () => {
  let folder = ''
  let node: RunningMayfly
  let browser: Browser
  let context: BrowserContext
  /** Another program on this machine that serves pages: of the same site as the console, and not in a sandbox. */
  let otherPort: Server
  const urls = new Map<Place, string>()

  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'))
    const { url, project } = node.ready
    const manage = async (method: string, at: string, body: string | null = null) => {
      const headers = { authorization: `Bearer ${project.secretKey}` }
      const response = await fetch(`${url}/api/v1/projects/demo${at}`, { method, headers, body })
      assert.ok(response.ok, `${at}: ${await response.text()}`)
    }
    const pages = JSON.stringify(secretive('function'))
    await deployFiles(
      node.ready,
      'page',
      {
        'index.mjs': `export default { fetch(request) {
          const type = new URL(request.url).searchParams.get('type')
          const headers = new Headers({ 'content-security-policy': "default-src * 'unsafe-inline'" })
          if (type !== '') headers.set('content-type', type ?? 'text/html')
          const xml = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>function</title><script>document.title = "function ran"</script></head></html>'
          return new Response(new TextEncoder().encode(/xml/.test(type) ? xml : ${pages}), { headers })
        } }`,
      },
      { verifyJwt: false },
    )
    urls.set('function', `${url}/functions/v1/page`)
    for (const name of ['site', 'other']) {
      const text = secretive(name)
      const sha256 = createHash('sha256').update(text).digest('hex')
      await manage('PUT', `/site-files/${sha256}`, text)
      await manage('PUT', `/sites/${name}`, JSON.stringify({ files: [{ path: 'index.html', sha256 }] }))
      urls.set(name === 'site' ? 'site' : 'other site', `http://${name}.demo.localhost:${new URL(url).port}/`)
    }
    const keys = { authorization: `Bearer ${project.secretKey}` }
    const bucket = await fetch(`${project.url}/storage/v1/bucket`, {
      method: 'POST',
      headers: { ...keys, 'content-type': 'application/json' },
      body: '{"id":"pages","name":"pages","public":true}',
    })
    assert.ok(bucket.ok, await bucket.text())
    const stored = await fetch(`${project.url}/storage/v1/object/pages/page.html`, {
      method: 'POST',
      headers: { ...keys, 'content-type': 'text/html' },
      body: secretive('stored'),
    })
    assert.ok(stored.ok, await stored.text())
    urls.set('stored', `${project.url}/storage/v1/object/public/pages/page.html`)
    otherPort = createServer((request, response) => {
      const policy: Record<string, string> = request.url === '/opaque' ? { 'content-security-policy': 'sandbox allow-scripts allow-popups allow-forms' } : {}
      response.writeHead(200, { 'content-type': 'text/html', ...policy }).end(secretive('port'))
    })
    await new Promise<void>((resolve) => otherPort.listen(0, '127.0.0.1', resolve))
    urls.set('other port', `http://127.0.0.1:${(otherPort.address() as AddressInfo).port}/`)
    urls.set('opaque', `${urls.get('other port')}opaque`)
    urls.set('console', `${node.ready.console}/`)

    browser = await launchBrowser(['--disable-popup-blocking'])
    context = await browser.newContext()
    const page = await context.newPage()
    const { stdout } = mayfly(['console', '--data', node.data])
    await page.goto(urls.get('console') as string)
    const code = new URL(stdout.trim()).hash.slice('#code='.length)
    const status = await page.evaluate<number>(
      `fetch('/session', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"code":"${code}"}' }).then((reply) => reply.status)`,
    )
    assert.equal(status, 204)
    await page.evaluate(`localStorage.setItem('own', 'secret of console')`)
    await page.close()
    // Every place has been there once, so that each keeps something.
    for (const place of PLACES) {
      const seen = await context.newPage()
      await seen.goto(urls.get(place) as string)
      await seen.close()
    }
  })
  after(async () => {
    await browser?.close()
    otherPort?.close()
    await node?.stop()
    removeFolder(folder)
  })

  const at = async (place: Place, work: (page: Page) => Promise<void>) => {
    const page = await context.newPage()
    try {
      await page.goto(urls.get(place) as string)
      await work(page)
    } finally {
      await page.close()
    }
  }

  it('a session is signed in, and no script reads its cookie', async () => {
    await at('console', async (page) => {
      assert.equal(await page.evaluate<number>(`fetch('/session').then((reply) => reply.status)`), 200)
      assert.doesNotMatch(await page.evaluate<string>('document.cookie'), /mayfly/)
    })
  })

  for (const place of ['site', 'other site', 'other port', 'opaque'] as const)
    it(`the ${place} is a page with a script of its own`, () => at(place, async (page) => assert.match(await page.title(), /ran$/)))
  for (const place of ['function', 'stored'] as const)
    it(`the ${place} is shown at the origin of the API, and its script does not run`, () =>
      at(place, async (page) => {
        assert.equal(await page.title(), place)
        assert.equal(await page.evaluate<string>('self.origin'), 'null')
      }))
  for (const type of ['', 'text/plain, text/html', ' text/html', 'application/rss+xml', 'text/xml', 'image/svg+xml', 'application/xhtml+xml', 'nonsense'])
    it(`nor does that of a function that calls its page ${JSON.stringify(type)}`, async () => {
      const page = await context.newPage()
      await page.goto(`${urls.get('function')}?type=${encodeURIComponent(type)}`).catch(() => {}) // what is downloaded ends the navigation
      assert.doesNotMatch(await page.title(), /ran/)
      await page.close()
    })

  for (const from of ACTORS) {
    for (const to of PLACES) {
      if (from === to) continue
      it(`from the ${from} nothing of the ${to} is read`, () =>
        at(from, async (page) => {
          const target = urls.get(to) as string
          const paths = to === 'console' ? ['', 'session', 'api/v1/status', 'api/v1/projects/demo/keys'] : ['']
          for (const suffix of paths) {
            const read = await page.evaluate<string>(
              `fetch(${JSON.stringify(target + suffix)}, { credentials: 'include' }).then((reply) => reply.text(), () => 'refused')`,
            )
            assert.equal(read, 'refused', `fetch with cookies of ${target + suffix}`)
          }
          const framed = await page.evaluate<string>(`new Promise((resolve) => {
            const frame = document.createElement('iframe')
            frame.onload = () => { let seen = 'refused'; try { const text = frame.contentWindow.document.body.textContent; if (text !== '') seen = text } catch {} ; resolve(seen) }
            frame.onerror = () => resolve('refused')
            setTimeout(() => resolve('refused'), 1000)
            frame.src = ${JSON.stringify(target)}
            document.documentElement.append(frame)
          })`)
          assert.equal(framed, 'refused', 'in a frame')
          const opened = await page.evaluate<string>(`new Promise((resolve) => {
            const other = window.open(${JSON.stringify(target)})
            if (!other) return resolve('refused')
            const look = () => {
              // Until it has gone there it is a page of the one who opened it, with that one's storage.
              let there = true
              try { if (!other.closed) there = other.location.href !== 'about:blank' && other.document.readyState === 'complete' } catch {}
              if (!there) return setTimeout(look, 50)
              let seen = 'refused'
              try { const text = other.document.body.textContent; if (/secret/.test(text)) seen = text } catch {}
              try { if (other.localStorage.getItem('own')) seen = 'storage' } catch {}
              try { other.close() } catch {}
              resolve(seen)
            }
            setTimeout(look, 50)
          })`)
          assert.equal(opened, 'refused', 'in a window')
          const own = await page.evaluate<{ cookie: string; storage: string }>(`(() => {
            const read = (what) => { try { return String(what()) } catch { return '' } }
            return { cookie: read(() => document.cookie), storage: read(() => localStorage.getItem('own')) }
          })()`)
          const words: Record<Place, string> = {
            console: 'console',
            function: 'function',
            stored: 'stored',
            site: 'site',
            'other site': 'other',
            'other port': 'port',
            opaque: 'none',
          }
          assert.doesNotMatch(own.storage, new RegExp(`of ${words[to]}\\b`))
          // Cookies know no ports; the console's name is its own.
          assert.doesNotMatch(own.cookie, new RegExp(`own_${words[to]}\\b`))
          assert.doesNotMatch(own.cookie, /mayfly_console/)
        }))
    }
  }

  for (const from of ['site', 'other port', 'opaque'] as const) {
    it(`from the ${from} nothing is changed in the console, by a request or by a form`, () =>
      at(from, async (page) => {
        const target = `${node.ready.console}/api/v1/projects`
        for (const mode of ['cors', 'no-cors'])
          await page.evaluate(
            `fetch(${JSON.stringify(target)}, { method: 'POST', mode: '${mode}', credentials: 'include', body: '{"ref":"stolen"}' }).then(() => {}, () => {})`,
          )
        await page.evaluate(`(() => {
          const form = document.createElement('form')
          form.method = 'post'
          form.enctype = 'text/plain'
          form.action = ${JSON.stringify(target)}
          form.innerHTML = '<input name=\\'{"ref":"stolen","a":"\\' value=\\'"}\\'>'
          document.documentElement.append(form)
          form.submit()
        })()`)
        await page.waitForTimeout(300)
        const operator = readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
        const listed = await fetch(`${node.ready.url}/api/v1/projects`, { headers: { authorization: `Bearer ${operator}` } })
        assert.doesNotMatch(await listed.text(), /stolen/)
      }))
    it(`nor is a session of its own choosing set, or that of the console ended, from the ${from}`, async () => {
      await at(from, async (page) => {
        await page.evaluate(`(() => {
          for (const more of ['', '; path=/', '; path=/session', '; domain=localhost', '; domain=127.0.0.1', '; path=/; max-age=0'])
            try { document.cookie = 'mayfly_console=tossed' + more } catch {}
        })()`)
        await page.evaluate(
          `fetch(${JSON.stringify(`${node.ready.console}/session`)}, { method: 'DELETE', mode: 'no-cors', credentials: 'include' }).then(() => {}, () => {})`,
        )
      })
      await at('console', async (page) => assert.equal(await page.evaluate<number>(`fetch('/session').then((reply) => reply.status)`), 200))
    })
  }

  it('a stored page that is opened through the console is a file to keep, and runs nothing there', async () => {
    const page = await context.newPage()
    const inside = `${node.ready.console}/p/demo/storage/v1/object/pages/page.html`
    await page.goto(urls.get('console') as string)
    const download = page.waitForEvent('download')
    await page.evaluate(`location.href = ${JSON.stringify(inside)}`)
    assert.equal(await (await download).failure(), null)
    const headers = await page.evaluate<Record<string, string>>(`fetch(${JSON.stringify(inside)}).then((reply) => Object.fromEntries(reply.headers))`)
    assert.equal(headers['content-security-policy'], "sandbox; default-src 'none'")
    assert.match(headers['content-disposition'] as string, /^attachment/)
    assert.equal(headers['x-content-type-options'], 'nosniff')
    const framed = await page.evaluate<string>(`new Promise((resolve) => {
      const frame = document.createElement('iframe')
      setTimeout(() => { let seen = ''; try { seen = frame.contentWindow.document.title } catch {} ; resolve(seen) }, 500)
      frame.src = ${JSON.stringify(inside)}
      document.documentElement.append(frame)
    })`)
    assert.doesNotMatch(framed, /ran/)
    await page.close()
  })
})
