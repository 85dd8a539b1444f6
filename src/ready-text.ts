import type { ReadyLine } from './ready-line.ts'

export interface ReadyShown {
  readonly ready: ReadyLine
  readonly tookMs: number
  readonly data: string
  /** An address of the console that signs in whoever opens it first; null where nobody but a log reads this, as below a service manager. */
  readonly login: string | null
}

/** What `up` says when it takes work. Secrets are for eyes alone: what no terminal gets is kept, and read by more than who may use the node. */
export function readyText({ ready, tookMs, data, login }: ReadyShown): string {
  const { url, console, project, accessKey, region, sandbox } = ready
  const isSeen = login !== null
  const where = `not shown, as this is no terminal: \`npx mayfly status\` shows it`
  return `
Mayfly is ready after ${(tookMs / 1000).toFixed(1)} s.
  API       ${url}
  Console   ${isSeen ? `${login} (valid once, for 15 minutes)` : `${console} (\`npx mayfly console\` prints an address that signs in)`}
  Project   ${project.ref}
  Keys      publishable ${project.publishableKey}
            secret      ${isSeen ? project.secretKey : where}
  AWS       access key ${accessKey.id} ${isSeen ? accessKey.secret : '(its secret too)'} region ${region}
  Sandbox   ${sandbox.driver}${sandbox.limits.length > 0 ? `: ${sandbox.limits.join(', ')}` : ''}
  Data      ${data}
Ctrl-C stops it.
`
}
