import { type Command, CommanderError } from 'commander'
import { ApiError, UnreachableError } from '../client/client.ts'
import { FolderError } from '../client/mayfly-json.ts'
import { HalfAddressError, NoNodeError } from '../client/nodes.ts'
import { complain, dim, EXIT, harmless, red, UsageError } from './output.ts'
import { program } from './program.ts'

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  if (error instanceof UsageError || error instanceof HalfAddressError) {
    complain(red(error.message))
    return EXIT.usage
  }
  if (error instanceof NoNodeError || error instanceof UnreachableError) {
    complain(red(error.message))
    return EXIT.noNode
  }
  if (error instanceof ApiError) {
    // It may hold names that others chose, and a node is whoever answers at --url.
    const [message, hint, code, request] = [error.message, error.hint, error.code, error.requestId].map((text) => harmless(String(text)))
    complain(`${red(message ?? '')}${hint === '' ? '' : `\n${hint}`}${dim(`  (${code}${request === '' ? '' : `, request ${request}`})`)}`)
    return error.status === 401 || error.status === 403 ? EXIT.notAllowed : error.status === 404 ? EXIT.notFound : EXIT.failed
  }
  complain(red(error instanceof FolderError ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error)))
  return EXIT.failed
}

// A reader that has seen enough (`| head`) is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failed))

const inProcess = (one: Command): void => {
  one.exitOverride()
  for (const inner of one.commands) inProcess(inner)
}
inProcess(program)
try {
  await program.parseAsync(process.argv)
} catch (error) {
  process.exitCode = report(error)
}
