import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

// The shell is the same engine without a browser's own pages and processes: it takes a quarter of the processor time.
const CHROMIUM = ['/usr/lib/chromium/chromium-headless-shell', '/usr/bin/chromium'].find((program) => existsSync(program))
export const skip = CHROMIUM === undefined ? 'needs the package chromium-headless-shell, or chromium' : false
const ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking']
ARGS.push('--disable-component-update', '--disable-sync')

export const launchBrowser = (more: readonly string[] = []): Promise<Browser> =>
  chromium.launch({ ...(CHROMIUM === undefined ? {} : { executablePath: CHROMIUM }), args: [...ARGS, ...more] })
