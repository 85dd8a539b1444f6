import type { Socket } from 'node:net'

/**
 * One GET of a function on a connection that is kept, written and read by hand: a client of its own would take longer than what is measured.
 * @param header  lines of its own, each with its end
 * @returns why it was cold, null when it was not
 */
export async function callOn(socket: Socket, host: string, name: string, header = ''): Promise<string | null> {
  const text = await new Promise<string>((resolve, reject) => {
    let all = ''
    const hear = (chunk: Buffer) => {
      all += chunk.toString('latin1')
      const head = all.indexOf('\r\n\r\n')
      const length = Number(/content-length: (\d+)/i.exec(all)?.[1] ?? Number.NaN)
      if (head === -1 || all.length < head + 4 + length) return
      socket.removeListener('data', hear).removeListener('error', reject)
      resolve(all)
    }
    socket.on('data', hear)
    socket.once('error', reject)
    socket.write(`GET /functions/v1/${name} HTTP/1.1\r\nhost: ${host}\r\n${header}\r\n`)
  })
  if (!text.startsWith('HTTP/1.1 200 ')) throw new Error(`${name}: ${text.slice(0, 300)}`)
  return /x-mayfly-cold: (\S+)/i.exec(text)?.[1] ?? null
}
