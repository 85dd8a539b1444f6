import { type Architecture, SYSCALLS } from './syscall-numbers.ts'

/** A list of allowed calls in the words of the OCI runtime specification, as far as ours goes: what is not allowed is an error. */
export interface SeccompList {
  readonly defaultAction: string
  readonly defaultErrnoRet: number
  readonly syscalls: readonly {
    readonly names: readonly string[]
    readonly action: string
    readonly args?: readonly Comparison[]
  }[]
}

/** `SCMP_CMP_MASKED_EQ`: what `value` leaves of the argument is `valueTwo`. All of 64 bits. */
export interface Comparison {
  readonly index: number
  readonly value: number
  readonly valueTwo?: number
  readonly op: string
}

interface Instruction {
  readonly code: number
  readonly jt: number
  readonly jf: number
  readonly k: number
}
/** From a number on: all such calls, none, or those whose arguments fit one of these. */
interface Part {
  readonly from: number
  readonly verdict: 'allow' | 'deny' | readonly (readonly Comparison[])[]
}

const AUDIT_ARCH: Record<Architecture, number> = { x64: 0xc000_003e, arm64: 0xc000_00b7 }
const LOAD = 0x20
const AND = 0x54
const JUMP = 0x05
const JUMP_EQUAL = 0x15
const JUMP_NOT_BELOW = 0x35
const RETURN = 0x06
const ALLOW = 0x7fff_0000
const ERRNO = 0x0005_0000
const KILL_PROCESS = 0x8000_0000
// Where `struct seccomp_data` has number, architecture and arguments; both architectures are little-endian.
const NUMBER_AT = 0
const ARCHITECTURE_AT = 4
const ARGUMENTS_AT = 16
/** A conditional jump reaches so far. */
const MAX_JUMP = 255

const load = (k: number): Instruction => ({ code: LOAD, jt: 0, jf: 0, k })
const give = (k: number): Instruction => ({ code: RETURN, jt: 0, jf: 0, k })

/**
 * The list as a program of the kernel's classic BPF, for who has no library to make one of it.
 *
 * Numbers are found by halving, so that a call costs some eight comparisons. A program of another architecture is killed:
 * its numbers mean other calls. Those of x32 are beyond all of the list and denied with what is not listed.
 * @throws Error for a name or an operation that it does not know
 * @see seccomp(2), linux/filter.h
 */
export function compileSeccomp(list: SeccompList, architecture: Architecture): Buffer {
  if (list.defaultAction !== 'SCMP_ACT_ERRNO') throw new Error(`the default action ${list.defaultAction} has no translation`)
  const program = [
    load(ARCHITECTURE_AT),
    { code: JUMP_EQUAL, jt: 1, jf: 0, k: AUDIT_ARCH[architecture] },
    give(KILL_PROCESS),
    load(NUMBER_AT),
    ...tree(partsOf(list, architecture), ERRNO | list.defaultErrnoRet),
  ]
  const bytes = Buffer.alloc(program.length * 8)
  for (const [i, { code, jt, jf, k }] of program.entries()) {
    bytes.writeUInt16LE(code, i * 8)
    bytes.writeUInt8(jt, i * 8 + 2)
    bytes.writeUInt8(jf, i * 8 + 3)
    bytes.writeUInt32LE(k >>> 0, i * 8 + 4)
  }
  return bytes
}

/** All numbers from 0 on, cut where the verdict changes. */
function partsOf(list: SeccompList, architecture: Architecture): Part[] {
  const verdicts = new Map<number, Part['verdict']>()
  for (const { names, action, args } of list.syscalls) {
    if (action !== 'SCMP_ACT_ALLOW') throw new Error(`the action ${action} has no translation`)
    for (const name of names) {
      const numbers = SYSCALLS.get(name)
      if (!numbers) throw new Error(`the system call ${name} has no number in the table`)
      const number = numbers[architecture]
      if (number === null) continue
      const before = verdicts.get(number)
      if (before === 'allow') continue
      if (args === undefined || args.length === 0) verdicts.set(number, 'allow')
      else verdicts.set(number, [...(Array.isArray(before) ? before : []), args])
    }
  }
  const parts: Part[] = [{ from: 0, verdict: 'deny' }]
  for (const number of [...verdicts.keys()].sort((a, b) => a - b)) {
    const last = parts.at(-1) as Part
    const verdict = verdicts.get(number) as Part['verdict']
    if (last.from === number) parts.pop()
    const before = parts.at(-1)
    if (before?.verdict !== verdict) parts.push({ from: number, verdict })
    parts.push({ from: number + 1, verdict: 'deny' })
  }
  return parts
}

function tree(parts: readonly Part[], denied: number): Instruction[] {
  if (parts.length === 1) return decide((parts[0] as Part).verdict, denied)
  const middle = parts.length >> 1
  const below = tree(parts.slice(0, middle), denied)
  const rest = tree(parts.slice(middle), denied)
  const k = (parts[middle] as Part).from
  if (below.length <= MAX_JUMP) return [{ code: JUMP_NOT_BELOW, jt: below.length, jf: 0, k }, ...below, ...rest]
  return [{ code: JUMP_NOT_BELOW, jt: 0, jf: 1, k }, { code: JUMP, jt: 0, jf: 0, k: below.length }, ...below, ...rest]
}

function decide(verdict: Part['verdict'], denied: number): Instruction[] {
  if (verdict === 'allow') return [give(ALLOW)]
  if (verdict === 'deny') return [give(denied)]
  return [...verdict.flatMap(whenAll), give(denied)]
}

/** Allows where all comparisons hold; else what follows goes on. */
function whenAll(comparisons: readonly Comparison[]): Instruction[] {
  const words = comparisons.flatMap(wordsOf)
  const length = words.reduce((sum, { mask }) => sum + (mask === null ? 2 : 3), 1)
  const made: Instruction[] = []
  for (const { at, mask, equals } of words) {
    made.push(load(at))
    if (mask !== null) made.push({ code: AND, jt: 0, jf: 0, k: mask })
    const left = length - made.length - 1
    if (left > MAX_JUMP) throw new Error('a rule compares too much')
    made.push({ code: JUMP_EQUAL, jt: 0, jf: left, k: equals })
  }
  return [...made, give(ALLOW)]
}

/** A register holds 32 bits, an argument 64. */
function wordsOf({ index, op, value, valueTwo }: Comparison): { at: number; mask: number | null; equals: number }[] {
  const [mask, equals] = op === 'SCMP_CMP_EQ' ? [null, value] : op === 'SCMP_CMP_MASKED_EQ' ? [value, valueTwo ?? 0] : []
  if (mask === undefined || equals === undefined) throw new Error(`the comparison ${op} has no translation`)
  const at = ARGUMENTS_AT + index * 8
  const high = (all: number) => Math.floor(all / 2 ** 32)
  return [
    { at: at + 4, mask: mask === null ? null : high(mask), equals: high(equals) },
    { at, mask: mask === null ? null : mask >>> 0, equals: equals >>> 0 },
  ]
}
