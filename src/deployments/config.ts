import { text } from '../core/settings.ts'

export const npmSettings = {
  registry: text({
    default: 'https://registry.npmjs.org/',
    doc: 'Where packages of apps come from that are installed at a deploy. The node reads there for the sandboxes that install; they reach nothing else.',
    pattern: /^https?:\/\/[^\s@?#]+$/,
    takes: 'a URL without credentials',
  }),
  tokenFile: text({ default: null, doc: 'A file with the token that the registry asks for. It stays in the node.', takes: 'a file' }),
}
