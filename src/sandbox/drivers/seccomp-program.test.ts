import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { seccomp } from './seccomp.ts'
import { type Comparison, compileSeccomp, type SeccompList } from './seccomp-program.ts'
import { type Architecture, SYSCALLS } from './syscall-numbers.ts'

const ALLOW = 0x7fff_0000
const ENOSYS = 0x0005_0000 | 38
const KILL = 0x8000_0000
const ARCHITECTURES = { x64: 0xc000_003e, arm64: 0xc000_00b7 }
const X32 = 0x4000_0000
const clone = SYSCALLS.get('clone')?.x64 as number

interface Made {
  readonly architecture: number
  readonly number: number
  readonly args: readonly bigint[]
}

const DATA = Buffer.alloc(64)

/** What the kernel does with such a program. */
function run(program: Buffer, call: Made): number {
  DATA.fill(0)
  const data = DATA
  data.writeUInt32LE(call.number >>> 0, 0)
  data.writeUInt32LE(call.architecture, 4)
  for (const [i, value] of call.args.entries()) data.writeBigUInt64LE(value, 16 + i * 8)
  let accumulator = 0
  for (let at = 0; at < program.length / 8; at++) {
    const code = program.readUInt16LE(at * 8)
    const k = program.readUInt32LE(at * 8 + 4)
    const jump = (taken: boolean) => program.readUInt8(at * 8 + (taken ? 2 : 3))
    if (code === 0x20) accumulator = data.readUInt32LE(k)
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0
    else if (code === 0x05) at += k
    else if (code === 0x15) at += jump(accumulator === k)
    else if (code === 0x35) at += jump(accumulator >= k)
    else if (code === 0x06) return k
    else assert.fail(`no such instruction: ${code}`)
  }
  return assert.fail('it ran past its end')
}

/** What the list says, read as its specification has it. */
function meaningOf(list: SeccompList, architecture: Architecture): (call: Made) => number {
  const rules = new Map<number, (readonly Comparison[])[]>()
  for (const { names, args } of list.syscalls)
    for (const name of names) {
      const number = SYSCALLS.get(name)?.[architecture]
      if (number !== null && number !== undefined) rules.set(number, [...(rules.get(number) ?? []), args ?? []])
    }
  return (call) => {
    if (call.architecture !== ARCHITECTURES[architecture]) return KILL
    const holds = ({ index, op, value, valueTwo }: Comparison) => {
      const argument = call.args[index] as bigint
      return op === 'SCMP_CMP_EQ' ? argument === BigInt(value) : (argument & BigInt(value)) === BigInt(valueTwo ?? 0)
    }
    const allowed = rules.get(call.number)?.some((comparisons) => comparisons.every(holds)) ?? false
    return allowed ? ALLOW : 0x0005_0000 | list.defaultErrnoRet
  }
}

/** Every bit alone, what the list compares with, and beside it. */
const VALUES = [
  0n,
  1n,
  2n,
  10n,
  16n,
  40n,
  0x7e02_0080n,
  0xffff_ffffn,
  0xffff_ffff_ffff_ffffn,
  0o010644n,
  0o020644n,
  0o060644n,
  0x1_0000_0001n,
  ...Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit)),
]

describe('our list of system calls as a program of the kernel', () => {
  for (const architecture of ['x64', 'arm64'] as const) {
    const program = compileSeccomp(seccomp, architecture)

    it(`says on ${architecture} of every number and argument what the list says`, () => {
      const meant = meaningOf(seccomp, architecture)
      let compared = 0
      for (let number = 0; number < 700; number++) {
        for (const value of VALUES) {
          // In each place alone, so that it matters which one is looked at.
          for (let place = 0; place < 3; place++) {
            const args = [0n, 0n, 0n, 0n, 0n, 0n].with(place, value)
            const call = { architecture: ARCHITECTURES[architecture], number, args }
            if (run(program, call) !== meant(call)) assert.fail(`${number} with ${args}`)
            compared++
          }
        }
      }
      assert.ok(compared > 150_000)
    })

    it(`denies on ${architecture} all numbers beyond, and those of x32`, () => {
      const args = [0n, 0n, 0n, 0n, 0n, 0n]
      for (let number = 0; number < 700; number++) assert.equal(run(program, { architecture: ARCHITECTURES[architecture], number: X32 | number, args }), ENOSYS)
      for (const number of [700, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff])
        assert.equal(run(program, { architecture: ARCHITECTURES[architecture], number, args }), ENOSYS)
    })

    it(`kills on ${architecture} what calls as another architecture`, () => {
      for (const other of [0x4000_0003, 0x4000_0028, 0, ARCHITECTURES[architecture === 'x64' ? 'arm64' : 'x64']])
        for (let number = 0; number < 700; number++) assert.equal(run(program, { architecture: other, number, args: [0n, 0n, 0n, 0n, 0n, 0n] }), KILL)
    })

    it(`is small enough for the kernel on ${architecture}, and jumps forward only to what is there`, () => {
      assert.ok(program.length / 8 < 4096)
      for (let at = 0; at < program.length / 8; at++) {
        const code = program.readUInt16LE(at * 8)
        if (code === 0x06) continue
        const furthest = code === 0x05 ? program.readUInt32LE(at * 8 + 4) : Math.max(program.readUInt8(at * 8 + 2), program.readUInt8(at * 8 + 3))
        assert.ok(at + 1 + furthest < program.length / 8)
      }
    })
  }

  it('knows the number of every call in the list', () => {
    for (const { names } of seccomp.syscalls) for (const name of names) assert.ok(SYSCALLS.has(name), name)
  })

  it('lets a thread be made, and nothing with a namespace of its own', () => {
    const program = compileSeccomp(seccomp, 'x64')
    const flags = (value: bigint) => run(program, { architecture: ARCHITECTURES.x64, number: clone, args: [value, 0n, 0n, 0n, 0n, 0n] })
    assert.equal(flags(0x3d_0f00n), ALLOW)
    for (const namespace of [0x80n, 0x2_0000n, 0x200_0000n, 0x400_0000n, 0x800_0000n, 0x1000_0000n, 0x2000_0000n, 0x4000_0000n])
      assert.equal(flags(0x3d_0f00n | namespace), ENOSYS)
  })
})

describe('a list of whatever calls', () => {
  const names = [...SYSCALLS.keys()].sort()
  const list = (syscalls: SeccompList['syscalls']): SeccompList => ({ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 1, syscalls })
  const allow = (chosen: readonly string[], args?: readonly Comparison[]) => ({ names: chosen, action: 'SCMP_ACT_ALLOW', ...(args ? { args } : {}) })
  const says = (made: SeccompList) => {
    const program = compileSeccomp(made, 'x64')
    const meant = meaningOf(made, 'x64')
    for (let number = 0; number < 500; number++)
      for (const value of [0n, 1n, 3n, 7n, 1n << 32n, (1n << 32n) | 3n]) {
        const call = { architecture: ARCHITECTURES.x64, number, args: [value, value, 0n, 0n, 0n, value] }
        assert.equal(run(program, call), meant(call), `${number} ${value}`)
      }
  }
  it('of none, all, every second, and some with arguments of both halves is translated alike', () => {
    says(list([]))
    says(list([allow(names)]))
    says(list([allow(names.filter((_, i) => i % 2 === 0))]))
    says(
      list([
        // Long enough that a conditional jump does not reach over it.
        allow(names, [
          { index: 0, op: 'SCMP_CMP_MASKED_EQ', value: 6, valueTwo: 2 },
          { index: 5, op: 'SCMP_CMP_EQ', value: 2 ** 32 + 3 },
        ]),
        allow(['read', 'write'], [{ index: 1, op: 'SCMP_CMP_EQ', value: 7 }]),
        allow(['close']),
        allow(['close'], [{ index: 1, op: 'SCMP_CMP_EQ', value: 7 }]),
      ]),
    )
  })
  it('is refused where a word of it has no translation', () => {
    assert.throws(() => compileSeccomp(list([allow(['no_such_call'])]), 'x64'), /no_such_call has no number/)
    assert.throws(() => compileSeccomp(list([{ names: ['read'], action: 'SCMP_ACT_TRACE' }]), 'x64'), /SCMP_ACT_TRACE has no translation/)
    assert.throws(() => compileSeccomp(list([allow(['read'], [{ index: 0, op: 'SCMP_CMP_GT', value: 1 }])]), 'x64'), /SCMP_CMP_GT has no translation/)
    assert.throws(() => compileSeccomp({ ...list([]), defaultAction: 'SCMP_ACT_ALLOW' }, 'x64'), /SCMP_ACT_ALLOW has no translation/)
  })
})
