import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isPlainLines, isPlainText } from './plain-text.ts'

describe('plain text', () => {
  for (const text of ['', 'a b', '한글', '😀', 'é']) it(`is ${JSON.stringify(text)}`, () => assert.ok(isPlainText(text)))
  for (const text of ['\0', '\u001b[2J', 'a\rb', '\u007f', '\u009b', '\ud800', 'a\udc00']) {
    it(`is not ${JSON.stringify(text)}`, () => assert.ok(!isPlainText(text)))
  }
  it('may have lines where lines are wanted, and nothing more', () => {
    assert.ok(isPlainLines('a\r\n\tb\n'))
    assert.ok(!isPlainText('a\nb'))
    for (const text of ['\0', '\u001b', '\ud800']) assert.ok(!isPlainLines(text))
  })
})
