import { createHash } from 'node:crypto'
import { z } from 'zod'
import { MayflyError } from '../core/errors.ts'
import { isPlainText } from '../core/plain-text.ts'
import type { WantedMigration } from './service.ts'

const fileSchema = z.strictObject(
  {
    name: z
      .string({ error: 'must be a text' })
      .regex(/^\d{1,20}_[\w.-]{1,150}\.sql$/, { error: 'must be a number, `_`, a name and `.sql`, such as 0001_todos.sql' })
      .refine(isPlainText),
    checksum: z.string({ error: 'must be a text' }).regex(/^[0-9a-f]{64}$/, { error: 'must be a SHA-256 in hexadecimal' }),
    sql: z.string({ error: 'must be a text' }).nullable().default(null),
  },
  { error: 'must be an object with `name`, `checksum` and `sql`' },
)
const MOST_FILES = 10_000

/** Files in the order in which they run. */
export const migrationsSchema = z
  .array(fileSchema, { error: 'must be a list of migrations' })
  .max(MOST_FILES, { error: `must be at most ${MOST_FILES} migrations` })
  .default([])

const numberOf = (name: string) => BigInt(/^\d+/.exec(name)?.[0] ?? 0)

/** @throws MayflyError bad_request when they are in another order, or a text is not what its checksum says */
export function checkMigrations(files: readonly WantedMigration[]): void {
  for (const [at, { name, checksum, sql }] of files.entries()) {
    const before = files[at - 1]
    if (before && numberOf(before.name) >= numberOf(name))
      throw new MayflyError('bad_request', `migrations: ${name} stands behind ${before.name}, whose number is not smaller`)
    if (sql !== null && checksum !== createHash('sha256').update(sql.replaceAll('\r\n', '\n')).digest('hex'))
      throw new MayflyError('bad_request', `migrations: the checksum of ${name} is not that of its text`)
  }
}
