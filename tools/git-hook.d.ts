export function installHook(root: string, env: Readonly<Record<string, string | undefined>>): boolean
