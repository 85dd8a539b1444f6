import { db, sendDue } from '../project.ts'

/** Each site has its first page, and each page that is due is sent to the queue. */
export const handler = async (): Promise<{ sent: number }> => {
  const { data: sites, error } = await db.from('sites').select('start')
  if (error) throw error
  const first = sites.map(({ start }) => ({ url: start as string, site: start as string }))
  const added = await db.from('pages').upsert(first, { onConflict: 'url', ignoreDuplicates: true })
  if (added.error) throw added.error
  return { sent: await sendDue() }
}
