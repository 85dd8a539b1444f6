import type { Problem, SandboxStatus } from './sandbox/index.ts'
import type { Pulse, WorkerStatus } from './workforce.ts'

/** The sandboxes of all processes as those of one. */
export function poolOfAll(own: SandboxStatus, workers: readonly Pick<WorkerStatus, 'pool'>[]): SandboxStatus {
  const all = [own, ...workers.map(({ pool }) => pool)]
  const sum = (of: (pool: SandboxStatus) => number) => all.reduce((total, pool) => total + of(pool), 0)
  const runtimes = new Map<string, SandboxStatus['waiting'][number]>()
  for (const one of all.flatMap(({ waiting }) => waiting)) {
    const known = runtimes.get(one.runtime)
    runtimes.set(one.runtime, { runtime: one.runtime, booted: one.booted + (known?.booted ?? 0), wanted: one.wanted + (known?.wanted ?? 0) })
  }
  return {
    ...own,
    generic: sum(({ generic }) => generic),
    waiting: [...runtimes.values()],
    memory: { ...own.memory, usedMb: sum(({ memory }) => memory.usedMb), budgetMb: sum(({ memory }) => memory.budgetMb) },
    ended: Object.fromEntries(Object.keys(own.ended).map((why) => [why, sum(({ ended }) => ended[why as keyof typeof ended])])) as SandboxStatus['ended'],
    sandboxes: all.flatMap(({ sandboxes }) => sandboxes),
  }
}

/** What does not work in any of the processes: what several say alike is one problem. */
export function problemsOfAll(own: readonly Problem[], workers: readonly Pick<Pulse, 'problems'>[]): readonly Problem[] {
  const all = [own, ...workers.map(({ problems }) => problems)].flat()
  return [...new Map(all.map((one) => [`${one.what}\n${one.why}`, one])).values()]
}

/** The journals of all processes as those of one. */
export function journalsOfAll(own: WorkerStatus['journals'], workers: readonly Pick<WorkerStatus, 'journals'>[]): WorkerStatus['journals'] {
  return own.map((one) => {
    const all = [one, ...workers.flatMap(({ journals }) => journals.filter(({ name }) => name === one.name))]
    const sum = (of: 'bytes' | 'dropped') => all.reduce((total, journal) => total + journal[of], 0)
    return { name: one.name, bytes: sum('bytes'), dropped: sum('dropped'), writable: all.every(({ writable }) => writable) }
  })
}
