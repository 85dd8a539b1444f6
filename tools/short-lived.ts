/**
 * How V8 is started where most of a process's life is its start, as in tests: the young part of the heap begins with what it may grow
 * to. From its usual megabyte on, what is loaded is collected a dozen times, though nearly all of it lives on.
 */
export const SHORT_LIVED: readonly string[] = ['--min-semi-space-size=16']
