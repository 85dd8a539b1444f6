/** What is made: the node's own program, or that of the commands. */
export type Which = 'node' | 'commands'
export function programOf(root: string, which?: Which): string
export function isMade(root: string, which?: Which): boolean
export function makeProgram(root: string, which?: Which): Promise<boolean>
