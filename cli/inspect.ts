import type { Command } from 'commander'
import { ApiError } from '../client/client.ts'
import { projectOfToken } from '../client/tokens.ts'
import { UsageError } from './output.ts'
import { clientOf, type Common, locate } from './place.ts'

interface Options extends Common {
  readonly port: string
}

/** Where every debugger of Node looks first. */
export const INSPECT_PORT = '9229'

/** `mayfly inspect <function>`: a debugger looks into a sandbox of it. */
export function inspectCommand(command: (name: string, description: string) => Command): void {
  command('inspect <function>', 'let a debugger (Chrome DevTools, VS Code, `node inspect`) look into a sandbox of a Node function; until Ctrl-C')
    .option('--port <port>', 'where the debugger finds it on this machine; 0: any that is free', INSPECT_PORT)
    .action(async (name: string, options: Options) => {
      const port = Number(options.port)
      if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new UsageError('--port: a number from 0 to 65535')
      const node = locate(options)
      // The node says so too, and later: when a debugger has come.
      if (projectOfToken(node.key) !== null)
        throw new ApiError(403, {
          code: 'not_allowed',
          message: 'a deploy token asks for what `mayfly deploy` asks for, in its project, and for nothing else',
          hint: "Use the operator token, or the project's secret key.",
        })
      const { runtime } = await clientOf(node).function(node.project, name)
      if (!runtime.startsWith('nodejs')) throw new UsageError(`inspect: ${name} runs on ${runtime}; only functions on Node have an inspector`)
      const { inspect } = await import('./inspect/session.ts')
      await inspect({ url: node.run?.url ?? node.url, key: node.key, project: node.project, name }, port, options.json === true)
    })
}
