import assert from 'node:assert/strict'
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import sharp from 'sharp'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, ROOT, startMayfly } from './harness.ts'
import {
  blankPng,
  clientOf,
  deadLetters,
  deployPhotoApp,
  download,
  executions,
  nothingLeft,
  PHOTO_APP,
  photo,
  stemOf,
  thumbnailsOf,
  until,
  WIDTHS,
} from './photos.ts'

describe('the photo job', () => {
  let folder = ''
  let data = ''
  let node: RunningMayfly
  const anon = () => clientOf(node.ready)
  const service = () => clientOf(node.ready, node.ready.project.secretKey)
  const upload = async (key: string, bytes: Buffer, contentType: string) => {
    const { data: made, error } = await anon().storage.from('avatars').upload(key, bytes, { contentType })
    assert.equal(error, null)
    return made
  }
  const quiet = () => nothingLeft(data)
  before(async () => {
    folder = makeFolder()
    data = path.join(folder, 'data')
    node = await startMayfly(data)
    deployPhotoApp(data)
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })

  it('makes three sizes of a picture that anyone uploads, each no larger than the source, and anyone can read them', async () => {
    await upload('cat.png', photo('cat.png'), 'image/png')
    const made = await thumbnailsOf(node.ready, 'cat.png')
    const shapes = await Promise.all(made.map(async (bytes) => await sharp(bytes).metadata()))
    assert.deepEqual(
      shapes.map(({ format, width, height }) => [format, width, height]),
      [
        ['webp', 64, 43],
        ['webp', 256, 170],
        ['webp', 451, 300],
      ],
    )
    const { publicUrl } = anon().storage.from('thumbnails').getPublicUrl('cat/64.webp').data
    const response = await fetch(publicUrl)
    assert.equal(response.headers.get('content-type'), 'image/webp')
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), made[0])
  })
  it('applies the orientation that a camera wrote', async () => {
    const turned = await sharp({ create: { width: 400, height: 200, channels: 3, background: '#135' } })
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer()
    await upload('turned.jpg', turned, 'image/jpeg')
    const [, middle] = await thumbnailsOf(node.ready, 'turned.jpg')
    const { width, height } = await sharp(middle).metadata()
    assert.deepEqual([width, height], [200, 400])
  })
  it('follows pictures at any key, in folders, with Korean, emoji, spaces and signs in their names, and upper-case endings', async () => {
    const names = ['여름 휴가/제주도 😀.jpg', 'a b+c&d=e.PNG', 'one/two/three.jpeg', "it's (1).jpg"]
    for (const name of names) {
      const format = /png$/i.test(name) ? 'png' : /webp$/i.test(name) ? 'webp' : 'jpeg'
      const bytes = await sharp(photo('cat.png')).resize(80).toFormat(format).toBuffer()
      await upload(name, bytes, `image/${format}`)
    }
    for (const name of names) {
      await thumbnailsOf(node.ready, name)
      const parts = stemOf(name).split('/')
      const { data: listed } = await anon().storage.from('thumbnails').list(parts.join('/'))
      assert.deepEqual(listed?.map((one) => one.name).toSorted(), ['1024.webp', '256.webp', '64.webp'])
    }
  })
  it('does nothing for what is no picture by its name, and does not read its own thumbnails', async () => {
    await quiet()
    const before = (await executions(data)).length
    const { error } = await service().storage.from('avatars').upload('notes', photo('cat.png'), { contentType: 'image/png' })
    assert.equal(error, null)
    await upload('last.png', photo('cat.png'), 'image/png')
    await thumbnailsOf(node.ready, 'last.png')
    await quiet()
    assert.equal((await executions(data)).length, before + 1)
    assert.equal(await download(node.ready, 'thumbnails', 'notes/64.webp'), null)
  })
  it('refuses at the door what is too large, of another type, there already, or not allowed, in words', async () => {
    const into = (bucket: string) => anon().storage.from(bucket)
    const told = async (work: Promise<{ error: unknown }>) => {
      const { error } = await work
      const { statusCode, message } = error as { statusCode: string; message: string }
      return `${statusCode} ${message}`
    }
    assert.match(await told(into('avatars').upload('x.gif', Buffer.from('GIF89a'), { contentType: 'image/gif' })), /^415 mime type image\/gif is not supported/)
    assert.match(await told(into('avatars').upload('big.png', Buffer.alloc(21_000_000), { contentType: 'image/png' })), /^413 .*maximum/)
    assert.match(await told(into('avatars').upload('cat.png', photo('cat.png'), { contentType: 'image/png' })), /^409 /)
    assert.match(await told(into('avatars').upload('cat.png', photo('cat.png'), { contentType: 'image/png', upsert: true })), /^403 /)
    assert.match(await told(into('thumbnails').upload('cat/64.webp', photo('cat.png'), { contentType: 'image/webp' })), /^403 /)
    assert.deepEqual((await into('avatars').remove(['cat.png'])).data, [], 'what may not be seen to go stays')
    assert.ok(await download(node.ready, 'avatars', 'cat.png'))
  })
  it('refuses names that lead elsewhere', async () => {
    const raw = async (pathname: string) => {
      const response = await fetch(`${node.ready.project.url}/storage/v1/object/avatars/${pathname}`, {
        method: 'POST',
        headers: { apikey: node.ready.project.publishableKey, 'content-type': 'image/png' },
        body: new Uint8Array(photo('cat.png')),
      })
      return [response.status, (await response.text()).slice(0, 200)] as const
    }
    for (const name of ['a%2f..%2f..%2fb.png', '..%2fb.png', 'a/%2e%2e/%2e%2e/b.png', 'line%0abreak.png', 'nul%00.png', '%', `${'x'.repeat(1100)}.png`]) {
      const [status, text] = await raw(name)
      assert.ok(status >= 400 && status < 500, `${name}: ${status} ${text}`)
      assert.match(text, /[Ii]nvalid|broken|key|path|nothing is served/, text)
    }
    const long = `${'y'.repeat(996)}.png`
    assert.equal((await raw(long))[0], 200, 'a thousand characters are a name')
    // Its thumbnails' names are a little longer, and still names.
    await thumbnailsOf(node.ready, long)
  })
  it('makes a dead letter, with the reason, of what is no picture, cut short, far too large or without a name; nothing stays behind', async () => {
    await quiet()
    const bad: Record<string, [Buffer, RegExp]> = {
      'words.png': [Buffer.from('this is no picture'), /unsupported image format/],
      'cut.jpg': [photo('deep-field.jpg').subarray(0, 100_000), /premature end|truncat|ended prematurely|VipsJpeg/i],
      'huge.png': [blankPng(30_000, 30_000), /pixel limit/],
      '.png': [photo('cat.png'), /\.png has no name before its extension/],
      'folder/..png': [photo('cat.png'), /\.\.png has no name before its extension/],
    }
    for (const [name, [bytes]] of Object.entries(bad)) await upload(name, bytes, name.endsWith('.jpg') ? 'image/jpeg' : 'image/png')
    const letters = await until('a dead letter for each', async () => {
      const found = await deadLetters(data)
      return found.length >= 5 && found
    })
    assert.equal(letters.length, 5)
    for (const letter of letters) assert.deepEqual([letter.function, letter.reason, letter.attempts], ['resize', 'attempts', 3])
    for (const [name, [, why]] of Object.entries(bad)) {
      assert.ok(
        letters.some((letter) => why.test(letter.errorMessage ?? '')),
        `${name}: ${letters.map((letter) => letter.errorMessage).join(' | ')}`,
      )
      assert.equal(await download(node.ready, 'thumbnails', `${stemOf(name)}/64.webp`), null)
    }
    assert.equal(await download(node.ready, 'thumbnails', 'folder/64.webp'), null, 'a name that means its folder leads nowhere else')
    const { error } = await service().storage.from('avatars').remove(['.png', 'folder/..png'])
    assert.equal(error, null)
    await quiet()
    assert.equal((await deadLetters(data)).length, 5, 'that they go is no failure')
    const after = (await executions(data)).length
    await upload('after.png', photo('cat.png'), 'image/png')
    await thumbnailsOf(node.ready, 'after.png')
    assert.equal((await executions(data)).length, after + 1, 'nothing is repeated for ever')
  })
  it('keeps one of two uploads to one key at the same time, and the thumbnails of that one', async () => {
    const red = await sharp({ create: { width: 300, height: 300, channels: 3, background: '#f00' } })
      .png()
      .toBuffer()
    const blue = await sharp({ create: { width: 300, height: 300, channels: 3, background: '#00f' } })
      .png()
      .toBuffer()
    const both = await Promise.all([red, blue].map((bytes) => anon().storage.from('avatars').upload('same.png', bytes, { contentType: 'image/png' })))
    assert.deepEqual(both.map(({ error }) => (error as { statusCode?: string } | null)?.statusCode ?? '200').toSorted(), ['200', '409'])
    await thumbnailsOf(node.ready, 'same.png')
    // By a key that may overwrite, both are answered and the last to commit stays.
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(
        [red, blue].map((bytes) => service().storage.from('avatars').upload('same.png', bytes, { contentType: 'image/png', upsert: true })),
      )
      for (const { error } of answers) assert.equal(error, null)
      await quiet()
      const kept = (await download(node.ready, 'avatars', 'same.png')) as Buffer
      const [small] = await thumbnailsOf(node.ready, 'same.png')
      const { dominant } = await sharp(small).stats()
      assert.equal(dominant.r > dominant.b, kept.equals(red), 'the thumbnails are of the picture that stayed')
    }
  })
  it('leaves no thumbnails of a picture that was deleted while they were made', async () => {
    for (let round = 0; round < 4; round++) {
      const key = `gone-${round}.jpg`
      await upload(key, photo('deep-field.jpg'), 'image/jpeg')
      if (round > 0) await new Promise((resolve) => setTimeout(resolve, round * 60))
      const { error } = await service().storage.from('avatars').remove([key])
      assert.equal(error, null)
    }
    await quiet()
    for (let round = 0; round < 4; round++)
      for (const width of WIDTHS) assert.equal(await download(node.ready, 'thumbnails', `gone-${round}/${width}.webp`), null)
    assert.equal((await deadLetters(data)).length, 5, 'that is no failure')
  })
  it('lets a run end on the version that it began with when the function is deployed anew', async () => {
    await quiet()
    const copy = path.join(folder, 'photo-app')
    cpSync(PHOTO_APP, copy, { recursive: true })
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'))
    const file = path.join(copy, 'resize', 'index.ts')
    const code = readFileSync(file, 'utf8')
    const lines = () =>
      mayfly(['logs', 'resize', '-n', '2000', '--json', '--data', data])
        .stdout.trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { text: string }).text)
    const slow = code.replace('if (source) await', "console.log('began old'); await new Promise((end) => setTimeout(end, 1500)); if (source) await")
    assert.notEqual(slow, code)
    writeFileSync(file, slow)
    assert.equal(mayfly(['deploy', copy, '--data', data]).code, 0)
    await upload('while.png', photo('cat.png'), 'image/png')
    await until('the run has begun', async () => lines().some((line) => line.includes('began old')))
    writeFileSync(file, code)
    assert.equal(mayfly(['deploy', copy, '--data', data]).code, 0)
    await thumbnailsOf(node.ready, 'while.png')
    await quiet()
    assert.equal(lines().filter((line) => line.includes('began old')).length, 1, 'it was run once, to its end')
    assert.equal((await deadLetters(data)).length, 5)
  })
  it('says in the usage what it ran and what that costs, each run once', async () => {
    await quiet()
    const details = await executions(data)
    assert.equal(new Set(details.map(({ id, attempt }) => `${id}/${attempt}`)).size, details.length)
    const told = mayfly(['usage', '--json', '--data', data])
    const { usage } = JSON.parse(told.stdout) as { usage: { functionName: string; executions: number; gbSeconds: number; cost: string | number }[] }
    const ofResize = usage.filter((row) => row.functionName === 'resize')
    assert.equal(
      ofResize.reduce((sum, row) => sum + row.executions, 0),
      details.filter(({ outcome }) => outcome !== 'cut').length,
    )
    assert.ok(ofResize.every((row) => row.gbSeconds > 0 && Number(row.cost) > 0))
  })
  it('says that nothing changes when it is deployed again', () => {
    assert.match(deployPhotoApp(data), /[Nn]othing changes/)
  })
})
