import { MayflyError } from './errors.ts'

/** What the JSON of a request says. @throws MayflyError body_not_json */
export function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new MayflyError('body_not_json', `the body is not JSON: ${error instanceof Error ? error.message.slice(0, 200) : ''}`)
  }
}
