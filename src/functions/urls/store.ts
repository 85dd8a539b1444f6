import type { Sql, Tx } from '../../backends/database/database.ts'
import type { ProjectRef } from '../../core/project.ts'

export type AuthType = 'NONE' | 'AWS_IAM'
export type InvokeMode = 'BUFFERED' | 'RESPONSE_STREAM'

/** What browsers are told of other origins; members that were not set are absent. */
export interface Cors {
  readonly allowCredentials?: boolean
  readonly allowHeaders?: readonly string[]
  readonly allowMethods?: readonly string[]
  readonly allowOrigins?: readonly string[]
  readonly exposeHeaders?: readonly string[]
  /** Seconds. */
  readonly maxAge?: number
}

/** An address of a function, or of one of its aliases. */
export interface FunctionUrl {
  readonly id: string
  readonly project: ProjectRef
  readonly functionId: string
  readonly functionName: string
  readonly alias: string | null
  readonly authType: AuthType
  readonly invokeMode: InvokeMode
  readonly cors: Cors | null
  readonly createdAt: Date
  readonly modifiedAt: Date
}

type Query = Sql | Tx

export const findUrl = async (sql: Query, id: string): Promise<FunctionUrl | null> =>
  (
    await sql<FunctionUrl>`
      select url.id, project.ref as project, function.id as "functionId", function.name as "functionName", url.alias, url.auth_type as "authType",
             url.invoke_mode as "invokeMode", url.cors, url.created_at as "createdAt", url.modified_at as "modifiedAt"
        from mayfly.function_url url
        join mayfly.function on function.id = url.function_id
        join mayfly.project on project.id = function.project_id
       where url.id = ${id}`
  )[0] ?? null

/** That of the function itself before those of its aliases, which follow in the order of their names as bytes. */
export const urlsOf = (sql: Query, ref: ProjectRef, functionName: string) => sql<FunctionUrl>`
  select url.id, project.ref as project, function.id as "functionId", function.name as "functionName", url.alias, url.auth_type as "authType",
         url.invoke_mode as "invokeMode", url.cors, url.created_at as "createdAt", url.modified_at as "modifiedAt"
    from mayfly.project
    join mayfly.function on function.project_id = project.id
    join mayfly.function_url url on url.function_id = function.id
   where project.ref = ${ref} and function.name = ${functionName}
   order by url.alias collate "C" nulls first`

/** All of a project, in the order of the names of their functions as bytes. */
export const urlsOfProject = (sql: Query, ref: ProjectRef) => sql<FunctionUrl>`
  select url.id, project.ref as project, function.id as "functionId", function.name as "functionName", url.alias, url.auth_type as "authType",
         url.invoke_mode as "invokeMode", url.cors, url.created_at as "createdAt", url.modified_at as "modifiedAt"
    from mayfly.project
    join mayfly.function on function.project_id = project.id
    join mayfly.function_url url on url.function_id = function.id
   where project.ref = ${ref}
   order by function.name collate "C", url.alias collate "C" nulls first limit 1000`

export interface NewUrl {
  readonly id: string
  readonly functionId: string
  readonly alias: string | null
  readonly authType: AuthType
  readonly invokeMode: InvokeMode
  readonly cors: Cors | null
}

const jsonOf = (cors: Cors | null) => (cors === null ? null : JSON.stringify(cors))

/** @returns false when there is one already */
export const insertUrl = async (tx: Tx, url: NewUrl): Promise<boolean> =>
  (
    await tx`
      insert into mayfly.function_url (id, function_id, alias, auth_type, invoke_mode, cors)
      values (${url.id}, ${url.functionId}, ${url.alias}, ${url.authType}, ${url.invokeMode}, ${jsonOf(url.cors)}::jsonb)
      on conflict (function_id, alias) do nothing returning id`
  ).length === 1

/** What is not said stays as it is at that moment. */
export const updateUrl = async (tx: Tx, id: string, change: Partial<Pick<NewUrl, 'authType' | 'invokeMode' | 'cors'>>): Promise<boolean> =>
  (
    await tx`
      update mayfly.function_url
         set auth_type = coalesce(${change.authType ?? null}, auth_type), invoke_mode = coalesce(${change.invokeMode ?? null}, invoke_mode),
             cors = case when ${change.cors !== undefined}::boolean then ${jsonOf(change.cors ?? null)}::jsonb else cors end, modified_at = clock_timestamp()
       where id = ${id} returning id`
  ).length === 1

export const deleteUrl = async (tx: Tx, id: string): Promise<boolean> => (await tx`delete from mayfly.function_url where id = ${id} returning id`).length === 1

/** Whether addresses that ask for no signature ask for two statements of a policy, as on AWS. */
export const findStrict = async (sql: Query, ref: ProjectRef): Promise<boolean> =>
  (
    await sql<{ strict: boolean }>`
      select setting.strict from mayfly.project join mayfly.function_url_setting setting on setting.project_id = project.id where project.ref = ${ref}`
  )[0]?.strict ?? false

export const saveStrict = (tx: Tx, projectId: string, strict: boolean) => tx`
  insert into mayfly.function_url_setting (project_id, strict) values (${projectId}, ${strict})
  on conflict (project_id) do update set strict = excluded.strict`
