import { createHmac } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import pg from 'pg'
import type { Ready } from './harness.ts'

/** Enters a project's database as its owner, who makes tables: by the socket of the server that the node has started. */
export async function ownerOf(data: string, ref: string): Promise<pg.Client> {
  const folder = path.join(data, 'pg', 'projects', ref)
  const file = path.join(folder, 'postmaster.pid')
  if (!existsSync(file)) throw new Error(`the project ${ref} has no running server`)
  const socket = readFileSync(file, 'utf8').split('\n')[4] ?? ''
  const password = createHmac('sha256', readFileSync(path.join(data, 'pg', 'password'), 'utf8'))
    .update(`${ref}/owner`)
    .digest('base64url')
  const client = new pg.Client({ host: socket, port: 5432, user: 'postgres', password, database: 'postgres' })
  await client.connect()
  return client
}

// biome-ignore lint/suspicious/noExplicitAny: the client wants the schema of a database that is made here as text
export type AnyClient = SupabaseClient<any, any, any, any, any>

/** The client as an app makes it. */
export const clientOf = (url: string, key: string, options: Record<string, unknown> = {}): AnyClient =>
  createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false }, ...options }) as AnyClient

export const guestOf = ({ project }: Ready): AnyClient => clientOf(project.url, project.publishableKey)
export const serviceOf = ({ project }: Ready): AnyClient => clientOf(project.url, project.secretKey)
