import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { type StorageErrorCode, StorageError } from './errors.ts'
import { admitMediaType, checkBucketName, checkKey, checkMediaRanges, checkMediaType, keyOfPath, parseBytes } from './names.ts'

const refused = (code: StorageErrorCode) => (error: unknown) => error instanceof StorageError && error.code === code

describe('names of storage', () => {
  it('a key is any text in any script', () => {
    for (const key of [
      'a',
      'a/b.txt',
      '한글 파일.jpg',
      '😀/🦋.webp',
      'a b',
      'a+b&c=d',
      "it's (1).txt",
      '100%',
      '%2f',
      '...',
      'a..b',
      '.hidden',
      'a//b',
      'dir/',
      '-',
      "'; drop table",
      '$1',
      'e\u0301',
    ])
      assert.equal(checkKey(key), key)
  })
  it('a key that a path could misread is refused', () => {
    for (const key of [
      '',
      '.',
      '..',
      '../x',
      'a/../b',
      'a/..',
      './a',
      'a/./b',
      'a\\b',
      '..\\x',
      'a\0b',
      'a\nb',
      'a\rb',
      'a\tb',
      '\u007f',
      '\u0085',
      '\u2028',
      '\ud800',
    ])
      assert.throws(() => checkKey(key), refused('InvalidKey'), JSON.stringify(key))
  })
  it('a key has at most objectKey bytes, however few characters', () => {
    const most = LIMITS.objectKey.value
    assert.equal(checkKey('가'.repeat(341) + 'x').length, 342)
    checkKey('x'.repeat(most))
    assert.throws(() => checkKey('x'.repeat(most + 1)), refused('InvalidKey'))
    assert.throws(() => checkKey('가'.repeat(342)), refused('InvalidKey'))
  })
  it('a path is decoded once', () => {
    assert.equal(keyOfPath('a%2Fb%20c'), 'a/b c')
    assert.equal(keyOfPath('%252f'), '%2f')
    assert.equal(keyOfPath('%ED%95%9C'), '한')
    for (const path of ['%2e%2e%2fx', '..%2f..%2fetc', '%2e', 'a%00b', 'a%0ab', 'a%5cb', '%', '%zz', '%ff', ''])
      assert.throws(() => keyOfPath(path), refused('InvalidKey'), path)
    assert.equal(keyOfPath('%252e%252e%252fx'), '%2e%2e%2fx')
  })
  it('a bucket has a name of plain characters, at most bucketName of them', () => {
    for (const name of ['avatars', 'A.b-c_1', "it's (mine)!", 'x'.repeat(LIMITS.bucketName.value)]) checkBucketName(name)
    for (const name of [
      '',
      ' ',
      ' a',
      'a ',
      'a/b',
      'a\\b',
      '.',
      '..',
      '한글',
      'a\n',
      'a"b',
      'a%b',
      'public',
      'sign',
      'list',
      'x'.repeat(LIMITS.bucketName.value + 1),
    ])
      assert.throws(() => checkBucketName(name), refused('InvalidBucketName'), JSON.stringify(name))
  })
  it('a media type is one that a header can carry', () => {
    for (const type of ['image/png', 'text/plain;charset=UTF-8', 'application/vnd.x+json', 'text/html; charset="x"']) assert.equal(checkMediaType(type), type)
    for (const type of ['', 'png', 'image/', '/png', 'a/b\r\nx: y', 'a/b;\n', 'image/*', '글/x', 'a b/c'])
      assert.throws(() => checkMediaType(type), refused('InvalidMimeType'), type)
  })
  it('a bucket takes the types that it names, by wildcard too, whatever their parameters', () => {
    for (const ranges of [null, [], ['*/*'], ['image/*'], ['IMAGE/PNG'], ['text/plain', 'image/png']]) admitMediaType('image/png; x=y', ranges)
    for (const ranges of [['image/jpeg'], ['imag/*'], ['image/pn'], ['text/*']])
      assert.throws(() => admitMediaType('image/png', ranges), refused('InvalidMimeType'))
    checkMediaRanges(['*/*', 'image/*', 'application/pdf'])
    for (const range of ['*', 'image', 'image/*x', '*/png', 'a/b c']) assert.throws(() => checkMediaRanges([range]), refused('InvalidMimeType'), range)
  })
  it('a size is bytes, or a number with a unit', () => {
    for (const [given, bytes] of [
      [1, 1],
      ['1', 1],
      ['20MB', 20_000_000],
      ['1.5 kb', 1_500],
      ['1MiB', 1_048_576],
      ['2gb', 2e9],
    ] as const)
      assert.equal(parseBytes(given), bytes)
    for (const given of ['', 'MB', '1 x', '-1', '1e9', '9'.repeat(16), 'NaN']) assert.equal(parseBytes(given), null, given)
  })
})
