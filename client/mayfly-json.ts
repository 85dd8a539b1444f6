import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** What is wrong with a folder that was to be deployed; a sentence for its owner. */
export class FolderError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'FolderError'
  }
}

/** What is in mayfly.json of a folder; null when there is none. @throws FolderError */
export function readMayflyJson(root: string): Record<string, unknown> | null {
  const file = path.join(root, 'mayfly.json')
  if (!existsSync(file)) return null
  let value: unknown
  try {
    value = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new FolderError(`${file} is not JSON: ${(error as Error).message}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new FolderError(`${file} must hold one JSON object.`)
  return value as Record<string, unknown>
}

/** Whether a mayfly.json tells of a whole project rather than of one function. */
export const isProjectFile = (value: Record<string, unknown> | null): boolean =>
  value !== null && ['functions', 'buckets', 'sites', 'queues', 'migrations'].some((field) => field in value)
