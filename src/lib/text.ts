/** Text as PostgreSQL holds it: without zero bytes and halves of characters. */
export const storableText = (text: string): string => (text.includes('\0') ? text.replaceAll('\0', '\u{fffd}') : text).toWellFormed()
