import { bold, complain, dim, green, harmless, ms, print, red, yellow } from '../output.ts'
import type { Said } from './lines.ts'
import type { Round } from './works.ts'

/** What a session has to say. */
export type DevEvent =
  | { event: 'removed' | 'closing'; ref: string }
  | { event: 'open'; url: string; ref: string; publishableKey: string; secretKey: string }
  | ({ event: 'deployed'; first: boolean; files: readonly string[]; ms: number; base: string; key: string; changed: readonly string[] } & Omit<
      Round,
      'changed'
    >)
  | { event: 'same'; files: readonly string[] }
  | { event: 'failed'; message: string }
  | ({ event: 'log' } & Said)

export const tellJson = (event: DevEvent) => print(JSON.stringify(event))

export function tellPeople(event: DevEvent): void {
  switch (event.event) {
    case 'removed':
      complain(dim(`Removed ${event.ref}, which an earlier run left.`))
      break
    case 'open':
      print(
        `${bold('project')}   ${event.ref}  ${event.url}/p/${event.ref}\n${bold('keys')}      publishable ${event.publishableKey}\n          secret      ${event.secretKey}`,
      )
      break
    case 'same':
      print(dim(`${event.files.join(', ')}: nothing that is deployed changed.`))
      break
    case 'failed':
      complain(red(harmless(event.message)))
      break
    case 'log': {
      const lines = harmless(event.text)
        .split('\n')
        .map((line) => `${dim(event.function)} ${event.kind === 'call' ? dim(line) : event.kind === 'error' ? red(line) : line}`)
      print(lines.join('\n'))
      break
    }
    case 'closing':
      complain(dim(`Removing ${event.ref} …`))
      break
    case 'deployed': {
      for (const warning of event.warnings) complain(yellow(`warning: ${warning}`))
      print(green(`${event.first ? 'Deployed' : event.changed.join(', ')} in ${ms(event.ms)}`))
      if (!event.first) return
      for (const name of event.functions) print(`${bold(name)}  curl ${event.base}/functions/v1/${name} -H "apikey: ${event.key}"`)
      for (const { name, url } of event.urls) print(`${bold(name)}  ${url}`)
      for (const { name, url } of event.sites) print(`${bold(name)}  ${url ?? 'not reached by this host name'}`)
      print(dim('Change a file and it runs. Ctrl-C ends it and leaves nothing behind.'))
    }
  }
}
