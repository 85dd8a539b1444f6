import type { Environment } from '@mayfly/functions'

export interface Note {
  readonly id: string
  readonly text: string
  readonly changedAt: string
}

/** Notes as objects of a bucket, by the API that every client uses; the key is valid in this function alone. */
export function notesOf({ MAYFLY_URL, MAYFLY_KEY }: Environment) {
  const storage = async (method: string, path: string, body?: unknown): Promise<Response> => {
    const response = await fetch(`${MAYFLY_URL}/storage/v1/object/${path}`, {
      method,
      headers: { apikey: MAYFLY_KEY ?? '', authorization: `Bearer ${MAYFLY_KEY}`, 'content-type': 'application/json', 'x-upsert': 'true' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return response
  }
  const demand = async (response: Response) => {
    if (!response.ok) throw new Error(`storage answered ${response.status}: ${await response.text()}`)
    return response
  }
  return {
    async list(): Promise<string[]> {
      const found = await demand(await storage('POST', 'list/notes', { prefix: '', limit: 1000 }))
      return ((await found.json()) as { name: string }[]).map((one) => one.name)
    },
    async read(id: string): Promise<Note | null> {
      const found = await storage('GET', `notes/${id}`)
      if (found.ok) return (await found.json()) as Note
      const refusal = (await found.json()) as { code?: string }
      if (found.status === 404 || refusal.code === 'NoSuchKey') return null
      throw new Error(`storage answered ${found.status}`)
    },
    async write(note: Note): Promise<void> {
      await demand(await storage('POST', `notes/${note.id}`, note))
    },
    async remove(id: string): Promise<void> {
      await demand(await storage('DELETE', 'notes', { prefixes: [id] }))
    },
  }
}
