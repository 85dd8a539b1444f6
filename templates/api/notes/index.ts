import type { FetchHandler } from '@mayfly/functions'
import { type Note, notesOf } from './store.ts'

const refuse = (status: number, error: string) => Response.json({ error }, { status })

/** `GET /notes`, `POST /notes`, and `GET`, `PUT`, `DELETE /notes/<id>`. */
export default {
  async fetch(request, env) {
    const [, , id, ...more] = new URL(request.url).pathname.split('/')
    if (more.length > 0 || (id !== undefined && !/^[\w-]{1,64}$/.test(id))) return refuse(404, 'there is no such thing here')
    const notes = notesOf(env)
    const { method } = request
    if (id === undefined && method === 'GET') return Response.json({ notes: await notes.list() })
    if (id === undefined && method === 'POST') return await save(crypto.randomUUID(), 201)
    if (id !== undefined && method === 'PUT') return await save(id, 200)
    if (id !== undefined && method === 'GET') {
      const note = await notes.read(id)
      return note ? Response.json(note) : refuse(404, `there is no note ${id}`)
    }
    if (id !== undefined && method === 'DELETE') {
      await notes.remove(id)
      return new Response(null, { status: 204 })
    }
    return refuse(405, `${method} does nothing here`)

    async function save(key: string, status: number) {
      const body = (await request.json().catch(() => null)) as { text?: unknown } | null
      if (typeof body?.text !== 'string') return refuse(400, 'send a JSON object with a text')
      const note: Note = { id: key, text: body.text, changedAt: new Date().toISOString() }
      await notes.write(note)
      return Response.json(note, { status })
    }
  },
} satisfies FetchHandler
