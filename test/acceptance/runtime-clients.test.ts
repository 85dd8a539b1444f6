import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import { CreateFunctionCommand, InvokeCommand, InvokeWithResponseStreamCommand, type LambdaClient, waitUntilFunctionActiveV2 } from '@aws-sdk/client-lambda'
import { awsOf, makeFolder, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

// What people really put behind `provided`: a shell script, C, the clients that AWS makes for Go, Rust and Python.
let folder = ''
let node: RunningMayfly
let aws: LambdaClient
before(async () => {
  folder = makeFolder()
  node = await startMayfly(path.join(folder, 'data'))
  aws = awsOf(node.ready)
})
after(async () => {
  await node?.stop()
  if (folder) removeFolder(folder)
})

/** Null when it went well, else why it did not. */
function failureOf(program: string, args: readonly string[], cwd: string, environment: Record<string, string> = {}): string | null {
  const { status, error, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8', timeout: 170_000, env: { ...process.env, ...environment } })
  return status === 0 ? null : `${path.basename(program)}: ${error?.message ?? stderr.trim().split('\n').at(-1)}`
}

async function deploy(name: string, files: Record<string, string | Buffer>, Variables: Record<string, string> = {}): Promise<void> {
  const Code = { ZipFile: await zipOf(files, ['bootstrap']) }
  await aws.send(
    new CreateFunctionCommand({
      FunctionName: name,
      Runtime: 'provided.al2023',
      Handler: 'app.handler',
      Role: ROLE,
      Timeout: 10,
      MemorySize: 256,
      Code,
      Environment: { Variables },
    }),
  )
  await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 30 }, { FunctionName: name })
}
async function invoke(name: string, event: unknown) {
  const reply = await aws.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)), LogType: 'Tail' }))
  const text = Buffer.from(reply.Payload ?? []).toString()
  return { value: JSON.parse(text), error: reply.FunctionError ?? null, log: Buffer.from(reply.LogResult ?? '', 'base64').toString() }
}
const filesIn = (at: string): Record<string, Buffer> =>
  Object.fromEntries(
    readdirSync(at, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .map((file) => [path.relative(at, file), readFileSync(file)]),
  )
const folderFor = (name: string) => {
  const at = path.join(folder, name)
  mkdirSync(at)
  return at
}

describe('a runtime in shell', { skip: existsSync('/usr/bin/curl') ? false : 'needs the package curl' }, () => {
  it('takes events and answers by curl', async () => {
    const bootstrap = `#!/bin/sh
set -eu
while true; do
  HEADERS="$(mktemp)"
  EVENT=$(curl -sS -LD "$HEADERS" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next")
  ID=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$HEADERS" | tr -d '[:space:]' | cut -d: -f2)
  echo "event $EVENT" > /dev/stderr
  curl -sS "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$ID/response" -d "$EVENT" > /dev/null
done
`
    await deploy('shell', { bootstrap })
    for (const event of [{ a: 1 }, ['größer']]) {
      const { value, log } = await invoke('shell', event)
      assert.deepEqual(value, event)
      assert.match(log, /event /)
    }
  })
})

describe('a runtime in C', { skip: existsSync('/usr/bin/gcc') && existsSync('/usr/include/stdio.h') ? false : 'needs the packages gcc and libc6-dev' }, () => {
  it('takes events and answers over one connection that it keeps', async () => {
    const at = folderFor('c')
    writeFileSync(
      path.join(at, 'main.c'),
      `#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
static FILE *in, *out;
static char line[4096], id[64], body[65536];
static size_t answer(void) {
  size_t length = 0;
  if (!fgets(line, sizeof line, in)) exit(1);
  while (fgets(line, sizeof line, in) && strcmp(line, "\\r\\n") != 0) {
    if (strncasecmp(line, "content-length:", 15) == 0) length = strtoul(line + 15, NULL, 10);
    if (strncasecmp(line, "lambda-runtime-aws-request-id:", 30) == 0) sscanf(line + 30, " %63[^\\r\\n]", id);
  }
  return fread(body, 1, length < sizeof body ? length : sizeof body, in);
}
int main(void) {
  char *port = strchr(getenv("AWS_LAMBDA_RUNTIME_API"), ':') + 1;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) return 2;
  in = fdopen(fd, "r");
  out = fdopen(dup(fd), "w");
  for (int count = 1;; count++) {
    fprintf(out, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n");
    fflush(out);
    size_t length = answer();
    if (length > 1 && body[1] == 'a') abort();
    char reply[128];
    int bytes = snprintf(reply, sizeof reply, "{\\"bytes\\":%zu,\\"count\\":%d}", length, count);
    fprintf(out, "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: %d\\r\\n\\r\\n%s", id, bytes, reply);
    fflush(out);
    answer();
  }
}
`,
    )
    assert.equal(failureOf('/usr/bin/gcc', ['-O1', '-o', 'bootstrap', 'main.c'], at), null)
    await deploy('c', { bootstrap: readFileSync(path.join(at, 'bootstrap')) })
    assert.deepEqual((await invoke('c', 'four')).value, { bytes: 6, count: 1 })
    assert.deepEqual((await invoke('c', 'eleven more')).value, { bytes: 13, count: 2 })
    const aborted = await invoke('c', 'abort')
    assert.match(aborted.value.errorMessage, /^RequestId: \S+ Error: Runtime exited with error: signal: aborted$/)
    assert.deepEqual((await invoke('c', 'four')).value, { bytes: 6, count: 1 })
  })
})

describe('aws-lambda-go', { skip: spawnSync('go', ['version']).status === 0 ? false : 'needs Go' }, () => {
  let built = ''
  before(() => {
    built = folderFor('go')
    writeFileSync(path.join(built, 'go.mod'), 'module example.test/f\ngo 1.21\nrequire github.com/aws/aws-lambda-go v1.50.0\n')
    writeFileSync(
      path.join(built, 'main.go'),
      `package main
import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)
type slow struct{ parts []string }
func (s *slow) Read(p []byte) (int, error) {
	if len(s.parts) == 0 { return 0, io.EOF }
	time.Sleep(100 * time.Millisecond)
	n := copy(p, s.parts[0])
	s.parts = s.parts[1:]
	return n, nil
}
func handle(ctx context.Context, event map[string]string) (any, error) {
	about, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	switch event["do"] {
	case "error": return nil, errors.New("mine")
	case "panic": panic("mine too")
	case "stream": return &slow{strings.Split("one two three", " ")}, nil
	case "broken": return io.MultiReader(strings.NewReader("some"), &failing{}), nil
	}
	fmt.Println("said by Go")
	return map[string]any{"id": about.AwsRequestID, "arn": about.InvokedFunctionArn, "name": lambdacontext.FunctionName, "left": time.Until(deadline).Milliseconds()}, nil
}
type failing struct{}
func (f *failing) Read(p []byte) (int, error) { return 0, errors.New("half-way") }
func main() { lambda.Start(handle) }
`,
    )
  })
  let failure: string | null | undefined
  const ready = (t: TestContext): boolean => {
    failure ??= failureOf('go', ['build', '-mod=mod', '-o', 'bootstrap', '.'], built, { GOFLAGS: '-mod=mod', CGO_ENABLED: '0', GOTOOLCHAIN: 'local' })
    if (failure !== null) t.skip(`aws-lambda-go cannot be built here: ${failure}`)
    return failure === null
  }

  it('runs handlers, with their context, errors and panics', async (t) => {
    if (!ready(t)) return
    await deploy('go', { bootstrap: readFileSync(path.join(built, 'bootstrap')) })
    const { value, log } = await invoke('go', { do: '' })
    assert.match(value.arn, /:function:go$/)
    assert.ok(value.left > 1000 && value.left <= 10_000)
    assert.match(log, /said by Go/)
    assert.deepEqual((await invoke('go', { do: 'error' })).value, { errorMessage: 'mine', errorType: 'errorString' })
    const panicked = await invoke('go', { do: 'panic' })
    assert.deepEqual([panicked.value.errorMessage, panicked.value.errorType, panicked.error], ['mine too', 'string', 'Unhandled'])
    assert.ok(Array.isArray(panicked.value.stackTrace))
    assert.equal((await invoke('go', { do: '' })).value.name, 'go')
  })

  it('streams what a reader gives as it comes, and its error', async (t) => {
    if (!ready(t)) return
    const read = async (event: unknown) => {
      const reply = await aws.send(new InvokeWithResponseStreamCommand({ FunctionName: 'go', Payload: Buffer.from(JSON.stringify(event)) }))
      let text = ''
      const times: number[] = []
      let failed: string | undefined
      for await (const one of reply.EventStream ?? []) {
        if (one.PayloadChunk) {
          text += Buffer.from(one.PayloadChunk.Payload ?? []).toString()
          times.push(performance.now())
        }
        if (one.InvokeComplete) failed = one.InvokeComplete.ErrorDetails
      }
      return { text, times, failed }
    }
    const { text, times } = await read({ do: 'stream' })
    assert.equal(text, 'onetwothree')
    assert.ok((times.at(-1) ?? 0) - (times[0] ?? 0) > 100)
    const broken = await read({ do: 'broken' })
    assert.equal(broken.text, 'some')
    assert.deepEqual(JSON.parse(String(broken.failed)), { errorMessage: 'half-way', errorType: 'errorString' })
  })
})

describe('lambda_runtime of Rust', { skip: spawnSync('cargo', ['--version']).status === 0 ? false : 'needs Rust' }, () => {
  it('runs handlers, with their context, errors and panics', async (t) => {
    const at = folderFor('rust')
    mkdirSync(path.join(at, 'src'))
    writeFileSync(
      path.join(at, 'Cargo.toml'),
      `[package]
name = "f"
version = "0.1.0"
edition = "2021"
[[bin]]
name = "bootstrap"
path = "src/main.rs"
[dependencies]
lambda_runtime = { version = "1.1", default-features = false }
serde_json = "1"
tokio = { version = "1", features = ["macros", "rt"] }
[profile.dev]
debug = 0
`,
    )
    writeFileSync(
      path.join(at, 'src', 'main.rs'),
      `use lambda_runtime::{run, service_fn, Error, LambdaEvent};
use serde_json::{json, Value};
async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    match event.payload["do"].as_str() {
        Some("error") => Err("mine".into()),
        Some("panic") => panic!("mine too"),
        _ => Ok(json!({ "id": event.context.request_id, "arn": event.context.invoked_function_arn, "name": event.context.env_config.function_name, "event": event.payload })),
    }
}
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}
`,
    )
    const failure = failureOf('cargo', ['build', '--quiet'], at, { CARGO_TARGET_DIR: path.join(at, 'target') })
    if (failure !== null) return t.skip(`lambda_runtime cannot be built here: ${failure}`)
    await deploy('rust', { bootstrap: readFileSync(path.join(at, 'target', 'debug', 'bootstrap')) })
    for (let i = 0; i < 2; i++) {
      const { value } = await invoke('rust', { a: 'größer' })
      assert.deepEqual([value.event, value.name], [{ a: 'größer' }, 'rust'])
      assert.match(value.arn, /:function:rust$/)
    }
    const { value, error } = await invoke('rust', { do: 'error' })
    assert.deepEqual([value.errorMessage, error], ['mine', 'Unhandled'])
    assert.match(value.errorType, /Error/)
    assert.match((await invoke('rust', { do: 'panic' })).value.errorMessage, /mine too/)
    assert.deepEqual((await invoke('rust', 1)).value.event, 1)
  })
})

describe('awslambdaric', { skip: existsSync('/usr/lib/python3/dist-packages/pip') ? false : 'needs the package python3-pip' }, () => {
  it('runs a Python handler as a client that is not ours', async (t) => {
    const at = folderFor('ric')
    const wheels = folderFor('wheels')
    const download = ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--only-binary=:all:', '-d', wheels, 'awslambdaric==4.2.2']
    const failure = failureOf('/usr/bin/python3', download, at)
    if (failure !== null) return t.skip(`awslambdaric cannot be had here without building it: ${failure}`)
    for (const wheel of readdirSync(wheels)) assert.equal(failureOf('/usr/bin/python3', ['-m', 'zipfile', '-e', path.join(wheels, wheel), at], at), null)
    writeFileSync(path.join(at, 'bootstrap'), '#!/bin/sh\nPYTHONPATH=/var/task exec /usr/bin/python3 -m awslambdaric "$_HANDLER"\n')
    writeFileSync(
      path.join(at, 'app.py'),
      `import logging
def handler(event, context):
    if event == 'raise': raise ValueError('mine')
    logging.getLogger().warning('warned')
    return {'event': event, 'id': context.aws_request_id, 'client': context.client_context and context.client_context.custom, 'left': context.get_remaining_time_in_millis()}
`,
    )
    await deploy('ric', filesIn(at))
    const { value, log } = await invoke('ric', { a: 'größer' })
    assert.deepEqual(value.event, { a: 'größer' })
    assert.ok(value.left > 1000 && value.left <= 10_000)
    assert.match(log, /\[WARNING\]\t\S+Z\t[0-9a-f-]{36}\twarned/)
    const raised = await invoke('ric', 'raise')
    assert.deepEqual([raised.error, raised.value.errorMessage, raised.value.errorType], ['Unhandled', 'mine', 'ValueError'])
    assert.equal((await invoke('ric', 1)).value.event, 1)
  })
})

it('aws-lambda-ric for Node', { skip: 'its native part is made by an install script, and those do not run here' }, () => {})
