import path from 'node:path'
import { z } from 'zod'
import { FolderError } from './mayfly-json.ts'

const text = z.string({ error: 'must be a text' }).min(1, { error: 'must not be empty' })
const list = <T extends z.ZodType>(one: T, what: string) => z.array(one, { error: `must be a list of ${what}` }).optional()
const record = (what: string) => (issue: { code?: string; keys?: readonly string[] }) =>
  issue.code === 'unrecognized_keys' ? `knows no field ${(issue.keys ?? []).map((key) => `"${key}"`).join(', ')}` : what

const functionEntry = z.union([text, z.looseObject({ folder: text.meta({ description: 'The folder of the function, below this one.' }) })], {
  error: 'must be the name of a folder, or an object with "folder"',
})

const bucketEntry = z.strictObject(
  {
    name: text.meta({ description: 'The name of the bucket.' }),
    public: z
      .boolean({ error: 'must be true or false' })
      .optional()
      .meta({ default: false, description: 'Whether everyone may read its objects by their address.' }),
    fileSizeLimit: z
      .union([z.string(), z.int()], { error: 'must be a size such as "10MB", or a number of bytes' })
      .nullable()
      .optional()
      .meta({ description: 'The largest object, such as `10MB`; the limit of the node when absent.' }),
    allowedMimeTypes: z
      .array(text, { error: 'must be a list of types such as "image/jpeg"' })
      .nullable()
      .optional()
      .meta({ description: 'Types that are taken, such as `image/jpeg` or `image/*`; all when absent.' }),
    allow: z
      .partialRecord(z.enum(['anon', 'authenticated']), z.array(z.enum(['select', 'insert', 'update', 'delete'])), {
        error: 'must be an object such as {"anon": ["select"]}; the roles are anon and authenticated',
      })
      .optional()
      .meta({ description: 'What the roles `anon` and `authenticated` may do with its objects: `select`, `insert`, `update`, `delete`.' }),
  },
  { error: record('must be an object with "name"') },
)

const whole = (least: number, most: number, description: string) =>
  z
    .int({ error: 'must be a whole number' })
    .min(least, { error: `must be ${least} or more` })
    .max(most, { error: `must be ${most} or less` })
    .optional()
    .meta({ description })

const queueEntry = z.strictObject(
  {
    name: text.meta({ description: 'The name of the queue.' }),
    visibilitySeconds: whole(0, 43_200, 'How long a message that was received is hidden from others; 30 when absent.'),
    delaySeconds: whole(0, 900, 'How long a message waits before it can be received; 0 when absent.'),
    retentionSeconds: whole(60, 1_209_600, 'How long messages are kept; 4 days when absent.'),
    waitSeconds: whole(0, 20, 'How long who receives waits for a first message, if he says nothing; 0 when absent.'),
    maxMessageBytes: whole(1024, 1_048_576, 'The largest message; 1 MiB when absent.'),
    deadLetter: z
      .strictObject(
        {
          queue: text.meta({ description: 'The queue that takes what is given up, of this file or one that is there.' }),
          maxReceives: z.int({ error: 'must be a whole number' }).min(1, { error: 'must be 1 or more' }).max(1000, { error: 'must be 1000 or less' }).meta({
            description: 'How often a message is received before it is given up.',
          }),
        },
        { error: record('must be an object with "queue" and "maxReceives"') },
      )
      .optional()
      .meta({ description: 'Where a message goes that was received too often and is still there, such as `{"queue": "mail-dead", "maxReceives": 3}`.' }),
  },
  { error: record('must be an object with "name"') },
)

const siteEntry = z.strictObject(
  {
    name: text.meta({ description: 'A label of a host name: the site is served at `<name>.<project>.localhost`.' }),
    folder: text.meta({ description: 'The folder with its files, below this one.' }),
    scripts: list(text, 'files').meta({ description: 'Files such as `app.ts` that are bundled for browsers, each to its name with `.js`.' }),
  },
  { error: record('must be an object with "name" and "folder"') },
)

/** mayfly.json at the root of a project. docs/mayfly.schema.json is made from it. */
export const projectFileSchema = z.strictObject(
  {
    $schema: z.string().optional().meta({ description: 'Where this schema lies, for editors.' }),
    name: z
      .string({ error: 'must be a text' })
      .regex(/^[a-zA-Z0-9_-]{1,64}$/, { error: 'must be 1 to 64 letters, digits, "-" and "_"' })
      .optional()
      .meta({ description: 'The name of the deployment; that of its folder when absent.' }),
    functions: list(functionEntry, 'functions').meta({
      description: 'Folders of functions, or objects with `folder` and fields that replace those of the mayfly.json in it.',
    }),
    buckets: list(bucketEntry, 'buckets').meta({ description: 'Buckets. One that is taken out stays, with its objects.' }),
    queues: list(queueEntry, 'queues').meta({ description: 'Queues. One that is taken out is removed when it is empty, and stays when it has messages.' }),
    sites: list(siteEntry, 'sites').meta({ description: 'Static sites.' }),
    migrations: text.optional().meta({
      description: 'The folder of migrations, below this one: files such as `0001_todos.sql`, which run before all else, once each.',
    }),
  },
  { error: record('must hold one JSON object') },
)
export type ProjectFile = z.infer<typeof projectFileSchema>

/** @throws FolderError that names each wrong field and what it may be */
export function parseProjectFile(root: string, value: Record<string, unknown>): ProjectFile {
  const parsed = projectFileSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const lines = parsed.error.issues.slice(0, 10).map((issue) => `  ${issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ` : ''}${issue.message}`)
  throw new FolderError(`${path.join(root, 'mayfly.json')} is not right:\n${lines.join('\n')}`)
}
