import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'

export interface Said {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

// Each command is a process of its own that does what /usr/bin/aws does; what that loads before its first line, most of
// its time, is loaded once and forked.
const PROGRAM = `
import json, os, sys, tempfile
import awscli.clidriver
awscli.clidriver.create_clidriver().session.create_client('lambda', endpoint_url='http://127.0.0.1:1')
for line in sys.stdin:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open('/dev/null', os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = ['aws', *json.loads(line)]
            code = 1
            try:
                code = awscli.clidriver.main()
            except SystemExit as end:
                code = end.code
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code or 0)
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        err.seek(0)
        print(json.dumps({'code': os.waitstatus_to_exitcode(status), 'stdout': out.read().decode(), 'stderr': err.read().decode()}), flush=True)
`

/** Debian's awscli, many commands one after another. */
export class AwsCli implements Disposable {
  readonly #child: ChildProcess
  readonly #lines: Interface
  readonly #waiting: PromiseWithResolvers<Said>[] = []
  #stderr = ''

  constructor(python: string, cwd: string, env: Readonly<Record<string, string>>) {
    this.#child = spawn(python, ['-c', PROGRAM], { cwd, env, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })
    this.#lines.on('line', (line) => this.#waiting.shift()?.resolve(JSON.parse(line) as Said))
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString()
    })
    this.#child.on('close', (code) => {
      for (const one of this.#waiting.splice(0)) one.reject(new Error(`awscli ended with ${code}: ${this.#stderr.slice(-2000)}`))
    })
  }

  async run(args: readonly string[]): Promise<Said> {
    const answer = Promise.withResolvers<Said>()
    this.#waiting.push(answer)
    this.#child.stdin?.write(`${JSON.stringify(args)}\n`)
    return await answer.promise
  }

  [Symbol.dispose](): void {
    this.#child.stdin?.end()
  }
}
