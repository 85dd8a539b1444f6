import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, it } from 'node:test'
import { FIELDS } from '../client/deploy.ts'
import { functionSpecSchema } from '../src/functions/index.ts'
import { mayflySchema, pages } from './docs.ts'
import { ROOT } from './sources.ts'

describe('the schema of mayfly.json', () => {
  const { properties } = mayflySchema()
  it('has the fields that the client takes, and all of the body of a deploy but the artefact', () => {
    assert.deepEqual(Object.keys(properties).toSorted(), [...FIELDS].toSorted())
    const inBody = Object.keys(functionSpecSchema.shape).filter((name) => name !== 'artefact')
    assert.deepEqual(
      Object.keys(properties).filter((name) => name !== '$schema' && name !== 'name'),
      inBody,
    )
  })
  it('says of each field what it is, its type, default and bounds, and wants none', () => {
    const schema = JSON.parse(pages()['docs/mayfly.schema.json'] as string) as {
      required?: string[]
      additionalProperties: boolean
      properties: Record<string, { description?: string; minimum?: number; maximum?: number; default?: unknown }>
    }
    assert.deepEqual([schema.required ?? [], schema.additionalProperties], [[], false])
    for (const [name, field] of Object.entries(schema.properties)) assert.match(field.description ?? '', /\w.*\.$/, name)
    const { memory } = schema.properties
    assert.deepEqual([memory?.minimum, memory?.maximum, memory?.default], [64, 10_240, 256])
    assert.match(memory?.description ?? '', /Unit: MB\.$/)
  })
  it('lets the examples through that name it', () => {
    const file = path.join(ROOT, 'examples', 'thumbnail', 'mayfly.json')
    const example = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    assert.ok(readFileSync(path.resolve(path.dirname(file), example.$schema as string)).length > 0)
    for (const name of Object.keys(example)) assert.ok(name in properties, name)
  })
})
