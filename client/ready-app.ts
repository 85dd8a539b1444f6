import type { AppBuild, Client } from './client.ts'
import type { Hear, Packed } from './deploy.ts'

export interface Ready {
  readonly packed: Packed
  readonly build: AppBuild | null
  readonly sent: boolean
}

const saysPackages = ({ count, lock, reused }: AppBuild['packages']) =>
  `${count} package${count === 1 ? '' : 's'}, ${lock === null ? 'as package.json says: there is no lockfile' : `by ${lock}`}${reused ? '; installed before' : ''}`

/** Has the node install an app's packages and look at what it registers; what is no app comes back as it is. @throws ApiError */
export async function readyApp(client: Client, project: string, packed: Packed, hear: Hear = () => {}): Promise<Ready> {
  if (packed.app === undefined) return { packed, build: null, sent: false }
  const from = performance.now()
  hear('send')
  const sent = !(await client.hasArtefact(project, packed.sha256))
  if (sent) await client.putArtefact(project, packed.sha256, packed.zip)
  const sending = performance.now()
  hear('install')
  const { definition, app } = packed
  const build = await client.buildApp(project, {
    artefact: packed.sha256,
    framework: app.framework,
    handler: definition.handler,
    ...(definition.runtime === undefined ? {} : { runtime: definition.runtime }),
    environment: definition.environment ?? {},
    installScripts: app.installScripts,
    registries: app.registries,
    legacyPeerDeps: app.legacyPeerDeps,
    run: app.run,
  })
  const installing = { what: build.packages.reused ? 'reuse' : 'install', ms: performance.now() - sending, note: saysPackages(build.packages) }
  return { packed: { ...packed, sha256: build.artefact, steps: [...packed.steps, { what: 'send', ms: sending - from }, installing] }, build, sent }
}
