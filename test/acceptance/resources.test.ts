import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { CreateFunctionCommand, InvokeCommand, type LambdaClient, waitUntilFunctionActiveV2 } from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

// Runs what it is given: in this process, or as a program of Python.
const HUNGRY = `
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
export const handler = async ({ js, python }) => {
  if (js) return await new Function('fs', 'net', 'return (async () => {' + js + '})()')(fs, net)
  const { status, signal, stdout, stderr } = spawnSync('/usr/bin/python3', ['-c', python], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 26 })
  return signal ?? (status === 0 ? stdout.trim() : stderr.trim().split('\\n').at(-1))
}`
const PYTHON = `
import ctypes, errno, mmap, os, resource, select, signal, socket, sys, tempfile, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def check(answer):
    if answer < 0: raise OSError(ctypes.get_errno(), '')
    return answer
def fill(make, most):
    made = []
    try:
        while len(made) < most: made.append(make(len(made)))
        return made, 'no end'
    except (OSError, MemoryError, RuntimeError) as error:
        return made, errno.errorcode.get(getattr(error, 'errno', 0), type(error).__name__)
def tell(made, why, unit=1):
    print('%s after %d' % (why, len(made) * unit)); sys.stdout.flush(); os._exit(0)
`
/** What ends it for want of memory: the program that asked, or the whole function, whose log tells its limit. */
const SPENT = /^"SIGKILL"$|signal: killed/

interface Case {
  readonly name: string
  /** Another function than the one of a long time. */
  readonly in?: string
  readonly js?: string
  readonly python?: string
  /** Of the answer: a pattern, or how much there was at most when which error came. */
  readonly ends: RegExp | { readonly by: string; readonly most: number }
}

const CASES: readonly Case[] = [
  { name: 'memory', js: 'const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1))', ends: SPENT },
  { name: 'memory by a program', python: 'all = [bytearray(b"x") * (1 << 20) for _ in range(4096)]', ends: SPENT },
  {
    name: 'files in /tmp beyond the memory',
    js: 'const fd = fs.openSync("/tmp/x", "w"); for (let i = 0; i < 400; i++) fs.writeSync(fd, Buffer.alloc(1 << 20, 1))',
    ends: SPENT,
  },
  {
    name: 'files in /dev/shm',
    python:
      'f = os.open("/dev/shm/x", os.O_CREAT | os.O_WRONLY)\nmade, why = fill(lambda i: os.write(f, bytes(1 << 20)), 100)\nos.unlink("/dev/shm/x")\ntell(made, why)',
    ends: { by: 'ENOSPC', most: 16 },
  },
  { name: 'files in memory', python: 'f = os.memfd_create("x")\nfor i in range(1000): os.write(f, bytes(1 << 20))', ends: SPENT },
  {
    name: 'many small mappings',
    python:
      'page = mmap.mmap(-1, 600 << 20)\nat = ctypes.addressof(ctypes.c_char.from_buffer(page))\ntell(*fill(lambda i: check(libc.mprotect(ctypes.c_void_p(at + 8192 * i), ctypes.c_size_t(4096), 1)), 70000))',
    ends: { by: 'ENOMEM', most: 65_530 },
  },
  {
    name: 'buffers of sockets',
    python:
      'def one(i):\n    a, b = socket.socketpair()\n    a.setblocking(False)\n    try:\n        while True: a.send(bytes(1 << 16))\n    except BlockingIOError: pass\n    return a, b\nfor p in range(8):\n    if os.fork() == 0:\n        kept = fill(one, 500)\n        time.sleep(5)\n        os._exit(0)\nprint([os.waitstatus_to_exitcode(os.wait()[1]) for p in range(8)])',
    ends: /-9|"SIGKILL"|signal: killed/,
  },
  {
    name: 'buffers of TCP',
    python:
      'l = socket.socket()\nl.bind(("127.0.0.1", 0))\nl.listen(200)\nheld, kept = 0, []\nfor i in range(60):\n    a = socket.create_connection(l.getsockname())\n    kept += [a, l.accept()[0]]\n    a.setblocking(False)\n    try:\n        while True: held += a.send(bytes(1 << 18))\n    except BlockingIOError: pass\nprint("held at %d MB" % (held >> 20))',
    ends: /^"held at \d{1,2} MB"$|SIGKILL|signal: killed/,
  },
  {
    name: 'buffers of UDP',
    python:
      'kept = []\nfor i in range(300):\n    a, b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n    a.bind(("127.0.0.1", 0))\n    a.setblocking(False)\n    kept += [a, b]\n    for k in range(10): b.sendto(bytes(30000), a.getsockname())\nheld = 0\nfor a in kept[::2]:\n    try:\n        while True: held += len(a.recv(65536))\n    except BlockingIOError: pass\nprint("held at %d MB" % (held >> 20))',
    ends: /^"held at \d{1,2} MB"$|SIGKILL|signal: killed/,
  },
  {
    name: 'answers of the kernel that nobody reads',
    python:
      'def one(i):\n    a = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n    a.setblocking(False)\n    try:\n        for k in range(40): a.send(ask)\n    except BlockingIOError: pass\n    except OSError as error:\n        if error.errno != errno.ENOBUFS: raise\n    return a\nimport struct\nask = struct.pack("=IHHII", 16, 99, 5, 1, 0) * 200\nkept = fill(one, 1000)\ntime.sleep(10)\nprint("kept " + kept[1])',
    ends: SPENT,
  },
  {
    name: 'buffers of pipes',
    python:
      'def one(i):\n    r, w = os.pipe()\n    os.set_blocking(w, False)\n    try:\n        while True: os.write(w, bytes(65536))\n    except BlockingIOError: pass\n    return r\ntell(*fill(one, 5000))',
    ends: { by: 'EMFILE', most: 512 },
  },
  {
    name: 'processes',
    python:
      'def one(i):\n    pid = os.fork()\n    if pid == 0:\n        time.sleep(20)\n        os._exit(0)\n    return pid\nmade, why = fill(one, 1000)\nfor pid in made: os.kill(pid, 9)\ntell(made, why)',
    ends: { by: 'EAGAIN', most: 128 },
  },
  {
    name: 'processes that make processes',
    python: 'end = time.time() + 1\nwhile time.time() < end:\n    try: os.fork()\n    except OSError: pass\nos._exit(0)',
    ends: /^""$/,
  },
  {
    name: 'threads',
    python:
      'threading.stack_size(1 << 18)\ndef one(i):\n    t = threading.Thread(target=time.sleep, args=(20,), daemon=True)\n    t.start()\n    return t\ntell(*fill(one, 1000))',
    ends: { by: 'RuntimeError', most: 128 },
  },
  { name: 'open files', python: 'tell(*fill(lambda i: os.open("/dev/null", 0), 5000))', ends: { by: 'EMFILE', most: 1024 } },
  { name: 'more open files than it may', python: 'resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))', ends: /not allowed to raise maximum limit/ },
  { name: 'watchers', python: 'tell(*fill(lambda i: check(libc.inotify_init()), 500))', ends: { by: 'EMFILE', most: 8 } },
  { name: 'epolls', python: 'tell(*fill(lambda i: select.epoll(), 5000))', ends: { by: 'EMFILE', most: 1024 } },
  {
    name: 'names that are not there',
    python: 'for i in range(60000):\n    try: os.stat("/usr/lib/no-%d" % i)\n    except OSError: pass\nprint("all asked")',
    ends: /^"all asked"$/,
  },
  {
    name: 'folders in folders',
    python: 'def one(i):\n    os.mkdir("d")\n    os.chdir("d")\nos.chdir("/tmp")\nmade, why = fill(one, 20000)\ntell(made, why)',
    ends: /^"(no end|ENOSPC|ENAMETOOLONG) after \d+"$|SIGKILL|signal: killed/,
  },
  {
    name: 'shared memory of System V',
    python:
      'libc.shmat.restype = ctypes.c_void_p\ndef one(i):\n    at = libc.shmat(check(libc.shmget(0, 1 << 20, 0o600)), None, 0)\n    ctypes.memset(at, 1, 1 << 20)\ntell(*fill(one, 5000))',
    ends: SPENT,
  },
  {
    name: 'messages of System V',
    python:
      'def one(i):\n    q = check(libc.msgget(0, 0o600))\n    m = ctypes.create_string_buffer(8 + 8000)\n    m[0] = 1\n    while libc.msgsnd(q, m, ctypes.c_size_t(8000), 0o4000) == 0: pass\ntell(*fill(one, 40000))',
    ends: /^"(ENOSPC|ENOMEM) after \d+"$|SIGKILL|signal: killed/,
  },
  {
    name: 'pending signals',
    python: 'signal.pthread_sigmask(signal.SIG_BLOCK, [40])\ntell(*fill(lambda i: check(libc.sigqueue(os.getpid(), 40, ctypes.c_void_p(0))), 100000))',
    ends: { by: 'EAGAIN', most: 256 },
  },
  {
    name: 'timers',
    python: 't = ctypes.c_void_p()\ntell(*fill(lambda i: check(libc.timer_create(1, None, ctypes.byref(t))), 100000))',
    ends: { by: 'EAGAIN', most: 256 },
  },
  { name: 'arguments', python: 'os.execv("/bin/true", ["x" * 100000] * 100)', ends: /Argument list too long/ },
  {
    name: 'locked memory',
    python:
      'libc.mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(mmap.mmap(-1, 1 << 20)))), 1 << 20) and print(errno.errorcode[ctypes.get_errno()])',
    ends: /^"ENOMEM"$/,
  },
  { name: 'the descriptor for its last words', python: 'for i in range(400): os.write(2, b"x" * 65536)\nprint("all said")', ends: /^"all said"$/ },
  { name: 'lines', js: 'const line = "x".repeat(1023); for (let i = 0; i < 20000; i++) console.log(line); return "all said"', ends: /^"all said"$/ },
  {
    name: 'an answer too large',
    js: 'return "x".repeat(7 << 20)',
    ends: /Function\.ResponseSizeTooLarge[\s\S]*6291456 bytes|6291456 bytes[\s\S]*ResponseSizeTooLarge|exceeded maximum allowed payload size/,
  },
  {
    name: 'frames that say nothing',
    js: `const all = Buffer.alloc(12 * 5000); for (let at = 0; at < all.length; at += 12) { all[at + 4] = 11; all[at + 5] = 4 }
      const end = Date.now() + 1500; let at = 0
      while (Date.now() < end || at % 12 !== 0) { try { at = (at + fs.writeSync(3, all, at, Date.now() < end ? all.length - at : 12 - (at % 12))) % all.length } catch (error) { if (error.code !== 'EAGAIN') throw error } }
      return 'all said'`,
    ends: /^"all said"$/,
  },
  {
    name: 'connections to the platform',
    js: `const { hostname, port } = new URL(process.env.MAYFLY_URL); const all = []
      for (let i = 0; i < 300; i++) { const s = net.connect(port || 80, hostname); s.on('error', () => {}); s.write('GET / HTTP/1.1\\r\\nhost: x\\r\\n'); all.push(s) }
      // On a busy machine those beyond are closed later.
      const now = (state) => all.filter((s) => !s.destroyed && s.readyState === state).length
      for (let n = 0; n < 50 && (n < 5 || now('opening') > 0 || now('open') > 128); n++) await new Promise((done) => setTimeout(done, 100))
      return now('open') <= 128 ? 'bounded' : 'more'`,
    ends: /^"bounded"$/,
  },
  { name: 'time', in: 'endless', js: 'for (;;);', ends: /Task timed out after 1\.00 seconds/ },
]

const skip = existsSync('/usr/bin/python3') ? false : 'the cases run by python3'

describe('a function that takes all that it can', { skip }, () => {
  let folder = ''
  let node: RunningMayfly
  let aws: LambdaClient
  const create = async (name: string, code: string, timeout: number) => {
    await aws.send(
      new CreateFunctionCommand({
        FunctionName: name,
        Runtime: 'nodejs24.x',
        Handler: 'index.handler',
        Role: ROLE,
        Timeout: timeout,
        MemorySize: 128,
        Code: { ZipFile: await zipOf({ 'index.mjs': code }) },
      }),
    )
    await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName: name })
  }
  const invoke = async (name: string, event: unknown) => {
    const reply = await aws.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)) }))
    return Buffer.from(reply.Payload ?? []).toString()
  }
  /** Calls the neighbour until `over`: each gets its own answer. @returns milliseconds of each */
  const callNeighbour = async (over: () => boolean): Promise<number[]> => {
    const took: number[] = []
    while (!over() || took.length === 0) {
      const from = performance.now()
      assert.equal(await invoke('neighbour', took.length), String(took.length))
      took.push(performance.now() - from)
    }
    return took
  }
  const p99 = (all: readonly number[]) => all.toSorted((a, b) => a - b)[Math.floor(all.length * 0.99)] as number
  let quiet = 0

  before(async () => {
    folder = makeFolder()
    node = await startMayfly(`${folder}/data`)
    aws = awsOf(node.ready)
    await create('hungry', HUNGRY, 30)
    await create('endless', HUNGRY, 1)
    await create('neighbour', 'export const handler = async (event) => event', 10)
    const end = performance.now() + 500
    quiet = p99(await callNeighbour(() => performance.now() > end))
  })
  after(async () => {
    aws?.destroy()
    await node?.stop()
    removeFolder(folder)
  })

  for (const { name, in: where = 'hungry', js, python, ends } of CASES) {
    it(`${name}: it is held, and told; its neighbour answers every call`, async (test) => {
      let over = false
      const hungry = invoke(where, { js, ...(python === undefined ? {} : { python: PYTHON + python }) }).finally(() => {
        over = true
      })
      const [answer, took] = await Promise.all([hungry, callNeighbour(() => over)])
      if (ends instanceof RegExp) assert.match(answer, ends)
      else {
        const [, by, count] = /^"(\w+) after (\d+)"$/.exec(answer) ?? []
        assert.equal(by, ends.by, answer.slice(0, 500))
        assert.ok(Number(count) > 0 && Number(count) <= ends.most, answer)
      }
      test.diagnostic(`${answer.slice(0, 120)}; the neighbour answered ${took.length} calls, p99 ${(p99(took) / quiet).toFixed(1)} × of quiet`)
    })
  }

  it('the node has nothing of it left: the next call is like the first', async () => {
    assert.equal(await invoke('hungry', { js: 'return fs.readdirSync("/tmp").length + fs.readdirSync("/dev/shm").length' }), '0')
  })
})
