import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { ROOT } from './harness.ts'

interface Locked {
  readonly version: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly os?: readonly string[]
}

const { packages } = JSON.parse(readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')) as { packages: Readonly<Record<string, Locked>> }
const tar = createRequire(path.join(ROOT, 'node_modules', 'npm', 'package.json'))('tar') as {
  c(options: object, files: readonly string[]): { read(): Buffer }
}
const nameOf = (at: string) => at.slice(at.lastIndexOf('node_modules/') + 'node_modules/'.length)

/** Where a package that is at `from` finds another, as Node looks for it. */
function found(from: string, name: string): string | null {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    const candidate = at === '' ? `node_modules/${name}` : `${at}/node_modules/${name}`
    if (packages[candidate]) return candidate
    if (at === '') return null
    if (!at.includes('/node_modules/')) at = ''
  }
}

/** A lockfile of these packages, of the versions that are installed here. */
export function lockOf(own: { readonly name: string; readonly version: string; readonly dependencies: Readonly<Record<string, string>> }): string {
  const locked: Record<string, object> = { '': own }
  const queue = Object.keys(own.dependencies).map((name) => found('', name))
  for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
    if (at === null || locked[at]) continue
    const { version, dependencies, optionalDependencies, os } = packages[at] as Locked
    if (os !== undefined) continue
    locked[at] = { version, ...(dependencies ? { dependencies } : {}) }
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) queue.push(found(at, name))
  }
  return JSON.stringify({ name: own.name, version: own.version, lockfileVersion: 3, requires: true, packages: locked })
}

export interface FakeRegistry extends AsyncDisposable {
  readonly url: string
  /** Method, path and credentials of each request. */
  readonly requests: { readonly method: string; readonly path: string; readonly authorization: string | null }[]
}

/** A registry that has the packages of this checkout, and those that are given. */
export async function startRegistry(more: Readonly<Record<string, Readonly<Record<string, string>>>> = {}): Promise<FakeRegistry> {
  const requests: { method: string; path: string; authorization: string | null }[] = []
  const places = Map.groupBy(
    Object.keys(packages).filter((at) => at !== ''),
    nameOf,
  )
  const tarballs = new Map<string, Buffer>()
  const tarballOf = (at: string) => {
    const kept = tarballs.get(at)
    if (kept) return kept
    const made = tar
      .c({ sync: true, gzip: true, portable: true, prefix: 'package', cwd: at, filter: (file: string) => !file.includes('node_modules') }, ['.'])
      .read()
    tarballs.set(at, made)
    return made
  }
  const folderOf = (name: string, version: string): string | null => {
    if (more[name]?.[version]) return more[name][version]
    const at = places.get(name)?.find((place) => packages[place]?.version === version)
    return at === undefined ? null : path.join(ROOT, at)
  }
  const server = createServer((request, response) => {
    const asked = decodeURIComponent(request.url ?? '')
    requests.push({ method: request.method ?? '', path: asked, authorization: request.headers.authorization ?? null })
    const [name = '', file] = asked.slice(1).split('/-/')
    if (file !== undefined) {
      const folder = folderOf(name, file.slice(name.split('/').at(-1)?.length).replace(/^-|\.tgz$/g, ''))
      if (folder === null) return void response.writeHead(404).end()
      return void response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(tarballOf(folder))
    }
    const versions: Record<string, object> = {}
    const there = [...(places.get(name) ?? []).map((at) => packages[at]?.version ?? ''), ...Object.keys(more[name] ?? {})]
    for (const version of new Set(there)) {
      const folder = folderOf(name, version) as string
      const own = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as object
      const { dependencies, optionalDependencies, scripts, bin, os, cpu } = own as Record<string, object>
      const tarball = `${url}${name}/-/${name.split('/').at(-1)}-${version}.tgz`
      const integrity = `sha512-${createHash('sha512').update(tarballOf(folder)).digest('base64')}`
      versions[version] = { name, version, dependencies, optionalDependencies, scripts, bin, os, cpu, dist: { tarball, integrity } }
    }
    if (there.length === 0) return void response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"not found"}')
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ name, 'dist-tags': { latest: there[0] }, versions }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  return {
    url,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
