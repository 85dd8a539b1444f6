import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Image } from './image.ts'

export interface Hardware {
  readonly memoryMb: number
  readonly processors: number
  /** By the processor's own means; else each instruction is emulated, which takes ten to seventy times as long. */
  readonly accelerated: boolean
  readonly clock: ClockOf
}

/** What the time of a host goes by: that of this machine, or the instructions that it executes, a thousand million a second. */
export const CLOCKS = ['machine', 'instructions'] as const
export type ClockOf = (typeof CLOCKS)[number]

/**
 * Whether this machine's KVM runs the kernel of any distribution: where the processor shows no means of its own, there may be one
 * that runs kernels made for it alone.
 */
export const isAccelerated = (kvm: boolean, cpuinfo: string): boolean => kvm && /^flags\s*:.*\b(vmx|svm)\b/m.test(cpuinfo)

function processorOf({ accelerated, clock }: Hardware): string[] {
  if (accelerated) return ['-accel', 'kvm', '-cpu', 'host']
  if (clock === 'machine') return ['-accel', 'tcg,thread=multi', '-cpu', 'max']
  return ['-accel', 'tcg,thread=single', '-cpu', 'max', '-icount', 'shift=0', '-rtc', 'clock=vm']
}

/** What the virtual machine is started by. Nothing that is written to the image's disk stays. */
export const commandOf = ({ disk, kernel, initrd }: Image, work: string, serial: string, hardware: Hardware): string[] => [
  ...['qemu-system-x86_64', ...processorOf(hardware)],
  ...['-m', String(hardware.memoryMb), '-smp', String(hardware.processors)],
  ...['-display', 'none', '-no-reboot', '-nodefaults'],
  ...['-kernel', kernel, '-initrd', initrd, '-append', 'root=/dev/vda rw console=ttyS0'],
  ...['-drive', `file=${disk},format=raw,if=virtio,snapshot=on`, '-drive', `file=${work},format=raw,if=virtio,cache=unsafe`],
  ...['-nic', 'user,model=virtio-net-pci', '-device', 'virtio-rng-pci', '-serial', `file:${serial}`],
  ...['-device', 'virtio-serial-pci', '-chardev', 'stdio,id=job,signal=off', '-device', 'virtserialport,chardev=job,name=job'],
]

/**
 * Runs a host until it turns itself off, or it is told to stop, or its time is over.
 * @param hear  is told what the job says, as it says it
 * @throws Error when there was no such end
 */
export async function runMachine(command: readonly string[], signal: AbortSignal, hear: (text: string) => void): Promise<void> {
  const [program, ...args] = command
  const machine = spawn(program as string, args, { stdio: ['pipe', 'pipe', 'inherit'], signal, killSignal: 'SIGKILL' })
  // Its end is not passed on: to the job it would be that of what it says, too.
  process.stdin.pipe(
    machine.stdin.on('error', () => {}),
    { end: false },
  )
  machine.stdout.setEncoding('utf8').on('data', hear)
  try {
    const [code, by] = (await once(machine, 'close')) as [number | null, NodeJS.Signals | null]
    if (code !== 0) throw new Error(`${program} ended with ${code ?? by}`)
  } finally {
    process.stdin.destroy()
  }
}
