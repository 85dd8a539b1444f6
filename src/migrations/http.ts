import { z } from 'zod'
import { MayflyError } from '../core/errors.ts'
import { jsonOf } from '../core/json-body.ts'
import { json } from '../core/json-reply.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Reply, RequestContext, Route } from '../core/route.ts'
import type { Migrations } from './service.ts'
import { checkMigrations, migrationsSchema } from './wanted.ts'

export interface MigrationsHttpDeps {
  readonly migrations: Migrations
  readonly audit: (what: string, project: string) => void
}

const upSchema = z.strictObject({
  files: migrationsSchema,
  run: z.boolean({ error: 'must be true or false' }).default(false),
  includeAll: z.boolean({ error: 'must be true or false' }).default(false),
})
const diffSchema = z.strictObject({ files: migrationsSchema })
const seedSchema = z.strictObject({ name: z.string({ error: 'must be a text' }).min(1).max(200), sql: z.string({ error: 'must be a text' }) })
const resetSchema = z.strictObject({ project: z.string({ error: 'must be the ref of the project, as a sign that it is meant' }) })

export function routes({ migrations, audit }: MigrationsHttpDeps): Route[] {
  const row = (path: string, doc: string, handle: (context: RequestContext, project: ProjectRef) => Promise<Reply>): Route => ({
    method: 'POST',
    adds: 'data',
    path: `/api/v1/projects/:ref/migrations${path}`,
    access: 'manage',
    plane: 'management',
    doc,
    handle: async (context) => await handle(context, (context.project as Project).ref),
  })
  return [
    row(
      '',
      'Compares the files in the body with what ran; with `run` it runs, as the owner, those that have yet to and whose text is given.',
      async (context, ref) => {
        const { files, run, includeAll } = await read(context, upSchema)
        checkMigrations(files)
        const ran = run ? await migrations.up(ref, files, includeAll) : []
        return json(200, { migrations: await migrations.status(ref, files), ran })
      },
    ),
    row(
      '/diff',
      'SQL that makes of a database which the files in the body have made the one that is there; runs them in one that goes with the answer.',
      async (context, ref) => {
        const { files } = await read(context, diffSchema)
        checkMigrations(files)
        return json(200, await migrations.diff(ref, files))
      },
    ),
    row('/dump', 'The schema of the database as SQL: tables, functions, policies, rights; no rows.', async (_context, ref) =>
      json(200, await migrations.dump(ref)),
    ),
    {
      ...row('/lint', 'What is unsafe or slow in the database, and how to mend it.', async (_context, ref) =>
        json(200, { findings: await migrations.lint(ref) }),
      ),
      method: 'GET',
    },
    row('/seed', 'Runs the SQL in the body in one transaction, as the owner.', async (context, ref) => {
      const { name, sql } = await read(context, seedSchema)
      return json(200, { notices: await migrations.seed(ref, name, sql) })
    }),
    row('/reset', "Drops what the owner has made in the project's database, and forgets which files ran. The body names the project.", async (context, ref) => {
      const { project } = await read(context, resetSchema)
      if (project !== ref) throw new MayflyError('bad_request', 'project: must be the ref of the project that is emptied')
      audit('the tables of a project were dropped', ref)
      await migrations.reset(ref)
      return json(200, {})
    }),
  ]
}

async function read<T>(context: RequestContext, schema: z.ZodType<T>): Promise<T> {
  const body = await context.body(LIMITS.migrationBody.value)
  const value = jsonOf(body)
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const told = parsed.error.issues
    .slice(0, 10)
    .map((issue) => (issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ${issue.message}` : issue.message))
  throw new MayflyError('bad_request', told.join('; '))
}
