import http from 'node:http'

// The clients of a burst, in a process of their own: in that of the calls which are measured they would hold those up. Started
// by fairness.ts; args: the address of the project, its key, how many call at once.

export interface Begin {
  readonly name: string
  readonly ms: number
}
export type Answers = Readonly<Record<string, number>>

const [url, key, callers] = process.argv.slice(2) as [string, string, string]
const agent = new http.Agent({ keepAlive: true })
let going: Promise<unknown> | null = null
let isOver = false
let answers: Record<string, number> = {}

const call = ({ name, ms }: Begin): Promise<string> =>
  new Promise((resolve) => {
    const request = http.get(`${url}/functions/v1/${name}?ms=${ms}`, { agent, headers: { apikey: key } }, (response) => {
      response.resume().once('close', () => resolve(String(response.statusCode)))
    })
    request.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })

async function each(begin: Begin): Promise<void> {
  while (!isOver) {
    const answer = await call(begin)
    answers[answer] = (answers[answer] ?? 0) + 1
  }
}

/** Begins, or ends with what was answered where it goes on. */
process.on('message', (begin: Begin | 'end') => {
  if (begin !== 'end') {
    isOver = false
    answers = {}
    going = Promise.all(Array.from({ length: Number(callers) }, () => each(begin)))
    process.send?.(answers)
    return
  }
  isOver = true
  void going?.then(() => process.send?.(answers))
})
process.once('disconnect', () => process.exit())
