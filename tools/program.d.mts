export function programOf(root: string): string
export function isMade(root: string): boolean
export function makeProgram(root: string): Promise<boolean>
