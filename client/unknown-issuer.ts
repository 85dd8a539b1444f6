/** What Node says of a certificate by somebody whom it does not know. */
const UNKNOWN_ISSUERS: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

export const isOfUnknownIssuer = ({ code = '' }: Error & { readonly code?: string }): boolean => UNKNOWN_ISSUERS.has(code)
