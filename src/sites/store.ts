import type { Sql, Tx } from '../backends/database/database.ts'
import type { ProjectRef } from '../core/project.ts'

type Query = Sql | Tx

export interface SiteRow {
  id: string
  name: string
  artefact: string
  version: string
  createdAt: Date
  modifiedAt: Date
}
export interface SiteSummary extends SiteRow {
  files: string
  bytes: string
}
export interface PathRow {
  path: string
  sha256: string
  type: string
  bytes: string
}

export const projectId = async (sql: Query, ref: ProjectRef): Promise<string | null> =>
  (await sql<{ id: string }>`select id from mayfly.project where ref = ${ref} and state <> 'deleting'`)[0]?.id ?? null

export const saveFile = (sql: Query, project: string, sha256: string, bytes: number) => sql`
  insert into mayfly.site_file (project_id, sha256, bytes) values (${project}, ${sha256}, ${bytes})
  on conflict (project_id, sha256) do update set stored_at = clock_timestamp()`

/** Those of the hashes that are stored, with their sizes; their time in the sweep begins anew. */
export const touchFiles = (sql: Query, ref: ProjectRef, hashes: readonly string[]) => sql<{ sha256: string; bytes: string }>`
  update mayfly.site_file set stored_at = clock_timestamp() from mayfly.project
   where project.id = site_file.project_id and project.ref = ${ref} and sha256 in (select jsonb_array_elements_text(${JSON.stringify(hashes)}::jsonb))
  returning sha256, bytes`

export const findSite = async (sql: Query, ref: ProjectRef, name: string): Promise<SiteRow | null> =>
  (
    await sql<SiteRow>`
      select site.id, site.name, site.artefact, site.version, site.created_at as "createdAt", site.modified_at as "modifiedAt"
        from mayfly.site join mayfly.project on project.id = site.project_id
       where project.ref = ${ref} and site.name = ${name}`
  )[0] ?? null

export const listSites = (sql: Query, ref: ProjectRef) => sql<SiteSummary>`
  select site.id, site.name, site.artefact, site.version, site.created_at as "createdAt", site.modified_at as "modifiedAt",
         count(*) as files, coalesce(sum(file.bytes), 0) as bytes
    from mayfly.project join mayfly.site on site.project_id = project.id
    join mayfly.site_path path on path.site_id = site.id
    join mayfly.site_file file on file.project_id = path.project_id and file.sha256 = path.sha256
   where project.ref = ${ref}
   group by site.id order by site.name collate "C"`

export const pathsOf = (sql: Query, siteId: string) => sql<PathRow>`
  select path.path, path.sha256, path.type, file.bytes
    from mayfly.site_path path join mayfly.site_file file on file.project_id = path.project_id and file.sha256 = path.sha256
   where path.site_id = ${siteId}`

/** Makes it, or points it at other content; its own id stays. */
export const saveSite = async (tx: Tx, site: { id: string; project: string; name: string; artefact: string }): Promise<{ id: string; created: boolean }> => {
  const [row] = await tx<{ id: string; created: boolean }>`
    insert into mayfly.site (id, project_id, name, artefact) values (${site.id}, ${site.project}, ${site.name}, ${site.artefact})
    on conflict (project_id, name) do update set artefact = excluded.artefact, version = site.version + 1, modified_at = clock_timestamp()
    returning id, version = 1 as created`
  return row as { id: string; created: boolean }
}

export const replacePaths = async (tx: Tx, siteId: string, project: string, files: readonly { path: string; sha256: string; type: string }[]) => {
  await tx`delete from mayfly.site_path where site_id = ${siteId}`
  await tx`
    insert into mayfly.site_path (site_id, path, project_id, sha256, type)
    select ${siteId}::uuid, file.path, ${project}::uuid, file.sha256, file.type
      from jsonb_to_recordset(${JSON.stringify(files)}::jsonb) as file (path text, sha256 text, type text)`
}

export const deleteSite = async (tx: Tx, ref: ProjectRef, name: string): Promise<boolean> => {
  const rows = await tx`
    delete from mayfly.site using mayfly.project
     where project.id = site.project_id and project.ref = ${ref} and site.name = ${name} returning site.id`
  return rows.length === 1
}

export const unusedFiles = (sql: Query, olderThanSeconds: number, limit: number) => sql<{ project: string; ref: ProjectRef; sha256: string }>`
  select file.project_id as project, project.ref, file.sha256
    from mayfly.site_file file join mayfly.project on project.id = file.project_id
   where file.stored_at < clock_timestamp() - ${olderThanSeconds} * interval '1 second'
     and not exists (select from mayfly.site_path path where path.project_id = file.project_id and path.sha256 = file.sha256)
   limit ${limit}`

/** False when a site names it again, or it was stored again. */
export const forgetFile = async (sql: Query, project: string, sha256: string, olderThanSeconds: number): Promise<boolean> => {
  const rows = await sql`
    delete from mayfly.site_file file
     where project_id = ${project} and sha256 = ${sha256} and stored_at < clock_timestamp() - ${olderThanSeconds} * interval '1 second'
       and not exists (select from mayfly.site_path path where path.project_id = file.project_id and path.sha256 = file.sha256)
    returning sha256`
  return rows.length === 1
}
