import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { readNpmrc } from './npmrc.ts'

describe('.npmrc', () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-npmrc-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))
  const read = (text: string, environment: NodeJS.ProcessEnv = {}) => {
    writeFileSync(path.join(folder, '.npmrc'), text)
    return readNpmrc(folder, environment)
  }

  it('names registries, of scopes too, each with what is for it alone', () => {
    const { registries, legacyPeerDeps, warnings } = read(
      [
        '; the shop',
        'registry = https://npm.example/all',
        '@shop:registry=https://packages.example:4873/',
        '@other:registry=http://other.example/a/b/',
        '//packages.example:4873/:_authToken="${SHOP_TOKEN}"',
        '//other.example/a/:_auth=dTpw',
        '//npm.example/:username=u',
        `//npm.example/:_password=${Buffer.from('p').toString('base64')}`,
        'legacy-peer-deps',
        'save-exact=true',
        '# the end',
      ].join('\r\n'),
      { SHOP_TOKEN: 'hush' },
    )
    assert.deepEqual(registries, [
      { scope: null, url: 'https://npm.example/all/', authorization: 'Basic dTpw' },
      { scope: '@shop', url: 'https://packages.example:4873/', authorization: 'Bearer hush' },
      { scope: '@other', url: 'http://other.example/a/b/', authorization: 'Basic dTpw' },
    ])
    assert.equal(legacyPeerDeps, true)
    assert.deepEqual(warnings, [])
  })

  it('gives no registry what is for another', () => {
    const { registries } = read('@a:registry=https://one.example.evil/\n//one.example/:_authToken=x\n//one.example.evil/b/:_authToken=y\n')
    assert.deepEqual(registries, [{ scope: '@a', url: 'https://one.example.evil/', authorization: null }])
  })

  it('says what it does not read, and what it cannot', () => {
    assert.deepEqual(read('proxy=http://p\n_authToken=x\n').warnings, [
      '.npmrc: "proxy" is not read.',
      '.npmrc: "_authToken" is not read: say which registry it is for, as in //registry.example/:_authToken=….',
    ])
    assert.throws(() => read('//a/:_authToken=${NONE}\n'), /asks for the variable NONE, which is not set here/)
    assert.equal(read('//a/:_authToken=${NONE?}\n').registries.length, 0)
    for (const wrong of ['ftp://a/', 'https://u:p@a/', 'a.example', 'file:///etc/'])
      assert.throws(() => read(`registry=${wrong}\n`), /no address of a registry/)
  })

  it('is nothing where there is none', () => {
    rmSync(path.join(folder, '.npmrc'))
    assert.deepEqual(readNpmrc(folder, {}), { registries: [], legacyPeerDeps: false, warnings: [] })
  })
})
