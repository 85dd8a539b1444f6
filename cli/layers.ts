import type { Client } from '../client/client.ts'
import { green, harmless, print, size, table } from './output.ts'

/** Wrong usage, as a sentence. */
export type Wrong = (message: string) => never

/** `layers ls [name]`, `layers publish <name> <folder or zip>`, `layers rm <name>:<version>`. */
export async function layers(
  client: Client,
  project: string,
  what: string,
  args: readonly (string | undefined)[],
  { json, description }: { readonly json: boolean; readonly description: string },
  wrong: Wrong,
): Promise<void> {
  const [name, from] = args
  switch (what) {
    case 'ls': {
      const found = name === undefined ? await client.layers(project) : await client.layerVersions(project, name)
      if (json) return print(JSON.stringify({ project, layers: found }))
      if (found.length === 0) return print(name === undefined ? `The project ${project} has no layers.` : `The layer ${harmless(name)} has no versions.`)
      const rows = found.map((one) => [`${one.name}:${one.version}`, size(one.codeBytes), one.publishedAt, harmless(one.description)])
      return print(table(['LAYER', 'SIZE', 'PUBLISHED', 'DESCRIPTION'], rows))
    }
    case 'publish': {
      if (name === undefined || from === undefined)
        return wrong('layers publish: say the name of the layer and a folder or zip archive with what is to lie in /opt')
      const { packLayer, publishLayer } = await import('../client/layers.ts')
      const made = await publishLayer(client, project, name, await packLayer(from), description)
      if (json) return print(JSON.stringify({ layer: made }))
      print(`${green(`Published ${made.name}:${made.version}`)}, ${size(made.codeBytes)}. Use it in mayfly.json: "layers": ["${made.name}:${made.version}"]`)
      return
    }
    case 'rm': {
      const [, layer, version] = /^([^:]+):([1-9]\d{0,8})$/.exec(name ?? '') ?? []
      if (layer === undefined || version === undefined) return wrong('layers rm: say which version, such as `layers rm tools:3`')
      await client.removeLayer(project, layer, Number(version))
      return print(json ? JSON.stringify({ removed: name }) : `Removed ${name}. Functions that use it keep it.`)
    }
    default:
      wrong(`layers ${what}: there is \`layers ls\`, \`layers publish\` and \`layers rm\``)
  }
}
