import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Departed } from './departed.ts'

it('what was begun before its project went is nobody’s, also when another has its ref', () => {
  const departed = new Departed()
  assert.equal(departed.owns('shop', 1), false)
  departed.note('shop', 100)
  assert.deepEqual([departed.owns('shop', 99), departed.owns('shop', 100), departed.owns('shop', 101), departed.owns('other', 1)], [true, true, false, false])
  departed.note('shop', 200)
  assert.equal(departed.owns('shop', 150), true)
  for (let n = 0; n < 1_000; n++) departed.note(`p${n}`, 300)
  assert.equal(departed.owns('shop', 1), false, 'the oldest is forgotten')
})
