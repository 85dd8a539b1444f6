import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { UsageError } from './output.ts'

/** Asks on the terminal and shows nothing of what is typed. @throws UsageError when nothing is */
export async function askSilently(question: string): Promise<string> {
  process.stderr.write(question)
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: process.stdin, output: silent, terminal: true })
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve)
      lines.once('close', () => reject(new UsageError('no value was given')))
    })
  } finally {
    lines.close()
    process.stderr.write('\n')
  }
}
