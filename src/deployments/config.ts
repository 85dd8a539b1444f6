import { text } from '../core/settings.ts'

export const npmSettings = {
  registry: text({
    default: 'https://registry.npmjs.org/',
    doc: 'Where packages of apps come from that are installed at a deploy. The node reads there for the sandboxes that install; they reach nothing else.',
    pattern: /^https?:\/\/[^\s@?#]+$/,
    takes: 'a URL without credentials',
  }),
  registries: text({
    default: '',
    doc: 'Origins that the .npmrc of an app may name though they are not public, with commas between them. Public ones every app may name.',
    pattern: /^(https?:\/\/[^\s@?#/,]+(,https?:\/\/[^\s@?#/,]+)*)?$/,
    takes: 'origins such as https://npm.example:4873, with commas between them',
  }),
  tokenFile: text({ default: null, doc: 'A file with the token that the registry asks for. It stays in the node.', takes: 'a file' }),
}
