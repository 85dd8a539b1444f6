import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, it } from 'node:test'
import { FIELDS } from '../client/deploy.ts'
import { functionSpecSchema } from '../src/functions/index.ts'
import { mayflySchema, pages } from './docs.ts'
import { ROOT } from './sources.ts'

interface OneOf {
  readonly required?: string[]
  readonly additionalProperties: boolean
  readonly properties: Record<string, { description?: string; minimum?: number; maximum?: number; default?: unknown }>
}
const shipped = () => (JSON.parse(pages()['docs/mayfly.schema.json'] as string) as { definitions: { function: OneOf; project: OneOf } }).definitions

describe('the schema of mayfly.json', () => {
  const { properties } = mayflySchema()
  it('has the fields that the client takes, and all of the body of a deploy but the artefact', () => {
    assert.deepEqual(Object.keys(properties).toSorted(), [...FIELDS].toSorted())
    const inBody = Object.keys(functionSpecSchema.shape).filter((name) => name !== 'artefact')
    assert.deepEqual(
      Object.keys(properties).filter((name) => !['$schema', 'name', 'triggers', 'url', 'entryPoint', 'installScripts'].includes(name)),
      inBody,
    )
  })
  it('says of each field what it is, its type, default and bounds, and wants none', () => {
    const schema = shipped()
    for (const one of [schema.function, schema.project]) {
      assert.deepEqual([one.required ?? [], one.additionalProperties], [[], false])
      for (const [name, field] of Object.entries(one.properties)) assert.match(field.description ?? '', /\w.*\.$/, name)
    }
    const { memory } = schema.function.properties
    assert.deepEqual([memory?.minimum, memory?.maximum, memory?.default], [64, 10_240, 256])
    assert.match(memory?.description ?? '', /Unit: MB\.$/)
  })
  it('lets the examples through that name it', () => {
    const file = path.join(ROOT, 'examples', 'thumbnail', 'mayfly.json')
    const example = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    assert.ok(readFileSync(path.resolve(path.dirname(file), example.$schema as string)).length > 0)
    for (const name of Object.keys(example)) assert.ok(name in properties, name)
  })
  it('tells a project from a function by what only a project has', () => {
    const file = path.join(ROOT, 'examples', 'photo-app', 'mayfly.json')
    const example = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    const { project } = shipped()
    for (const name of Object.keys(example)) assert.ok(name in project.properties, name)
    assert.deepEqual(Object.keys(project.properties).toSorted(), ['$schema', 'buckets', 'functions', 'migrations', 'name', 'queues', 'sites'])
  })
})
