/**
 * Text that can be kept and shown: whole characters (PostgreSQL refuses half a surrogate pair), and none that steer a
 * terminal or end a line, which would forge what others read.
 */
export const isPlainText = (text: string): boolean => text.isWellFormed() && !/\p{Cc}/u.test(text)

/** The same, but lines may end. */
export const isPlainLines = (text: string): boolean => isPlainText(text.replaceAll(/[\t\n\r]/g, ''))
