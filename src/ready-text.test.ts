import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readyText } from './ready-text.ts'

const SECRETS = ['sb_secret_hidden', 'AWS+secret/hidden', '#code=hidden']
const ready = {
  ready: true,
  url: 'http://127.0.0.1:4500',
  console: 'http://console.localhost:4500',
  project: { ref: 'demo', url: 'http://demo.localhost:4500', publishableKey: 'sb_publishable_seen', secretKey: 'sb_secret_hidden' },
  accessKey: { id: 'AKIASEEN', secret: 'AWS+secret/hidden' },
  region: 'us-east-1',
  sandbox: { driver: 'crun', limits: ['memory', 'time'] },
} as const
const shown = { ready, tookMs: 4_720, data: '/srv/mayfly' }

test('a terminal is shown everything', () => {
  const text = readyText({ ...shown, login: 'http://console.localhost:4500/#code=hidden' })
  for (const secret of SECRETS) assert.ok(text.includes(secret), secret)
  assert.match(text, /^\nMayfly is ready after 4\.7 s\.\n {2}API {7}http:\/\/127\.0\.0\.1:4500\n/)
  assert.match(text, /\nCtrl-C stops it\.\n$/)
})

test('a log gets no secret, and how to see them', () => {
  const text = readyText({ ...shown, login: null })
  for (const secret of SECRETS) assert.ok(!text.includes(secret), secret)
  for (const seen of ['sb_publishable_seen', 'AKIASEEN', 'http://console.localhost:4500', 'demo', 'crun: memory, time', '/srv/mayfly'])
    assert.ok(text.includes(seen), seen)
  assert.match(text, /`npx mayfly status`/)
  assert.match(text, /`npx mayfly console`/)
  assert.match(text, /\nCtrl-C stops it\.\n$/)
})
