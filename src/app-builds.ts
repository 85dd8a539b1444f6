import path from 'node:path'
import { readFileSync } from 'node:fs'
import { trustSystem } from '../client/system-ca.ts'
import { isOfUnknownIssuer } from '../client/unknown-issuer.ts'
import type { Config } from './config.ts'
import { AppBuilds, describeApp, Installer, Packages, Registry } from './deployments/index.ts'
import type { Artefacts, FunctionsService } from './functions/index.ts'
import type { Host } from './host.ts'
import { readText } from './listening.ts'
import type { Sandboxes } from './sandbox/index.ts'

export interface AppBuildsDeps {
  readonly config: Config
  readonly host: Host
  /** The data directory. */
  readonly data: string
  readonly functions: FunctionsService
  readonly artefacts: Artefacts
  readonly sandboxes: Sandboxes
}

/** What makes apps of other clouds ready to run: sandboxes that install, and sandboxes that tell what an app registers. */
export function openAppBuilds({ config, host, data, functions, artefacts, sandboxes }: AppBuildsDeps) {
  const { registry: url, registries, tokenFile } = config.npm
  const { newId, clock } = host
  const packagesFolder = path.join(host.root, 'node_modules')
  const registry = new Registry({
    url,
    trust: { isUnknown: isOfUnknownIssuer, more: trustSystem },
    allowed: registries.split(',').flatMap((origin) => (origin === '' ? [] : [new URL(origin).origin])),
    token: tokenFile === null ? null : readText(tokenFile, 'token of the registry').trim(),
  })
  const installer = new Installer({
    sandboxes,
    registry,
    packages: packagesFolder,
    runtimes: path.join(host.root, 'runtimes'),
    folder: path.join(data, 'tools'),
    newId,
  })
  const versions = ['npm', 'pnpm', '@yarnpkg/cli-dist'].map((name) => {
    const { version } = JSON.parse(readFileSync(path.join(packagesFolder, name, 'package.json'), 'utf8')) as { version: string }
    return `${name} ${version}`
  })
  const packages = new Packages({
    folder: path.join(data, 'dependencies'),
    clock,
    newId,
    install: (wanted) => installer.install(wanted),
    platform: `${versions.join(' ')} ${process.platform} ${process.arch}`,
  })
  const builds = new AppBuilds({ functions, artefacts, packages, describe: ({ codeDir, request }) => describeApp(sandboxes, newId(), codeDir, request) })
  return { builds, packages }
}
