let trusted: Promise<boolean> | null = null

/**
 * From then on this process trusts whom the machine trusts, too: a company's own authority, for one. Node by itself does
 * not, and to read them takes as long as a short command: so they are read when a certificate is by somebody unknown.
 * @returns whether to ask again may help
 */
export const trustSystem = (): Promise<boolean> => (trusted ??= addSystem())

async function addSystem(): Promise<boolean> {
  const { getCACertificates, setDefaultCACertificates } = await import('node:tls')
  // Node has it from 22.19 and 24.5 on.
  if (typeof setDefaultCACertificates !== 'function') return false
  const known = getCACertificates('default')
  const more = getCACertificates('system').filter((one) => !known.includes(one))
  if (more.length === 0) return false
  setDefaultCACertificates([...known, ...more])
  return true
}
