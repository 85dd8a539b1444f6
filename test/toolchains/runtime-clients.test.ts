import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { before, describe, it, type TestContext } from 'node:test'
import { InvokeWithResponseStreamCommand } from '@aws-sdk/client-lambda'
import { failureOf, providedNode } from '../acceptance/provided-fixture.ts'

// The clients that AWS makes for Go and Rust, built from what their registries have. `npm run test:toolchains`
const { aws, folderFor, deploy, invoke } = providedNode()

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
      const reply = await aws().send(new InvokeWithResponseStreamCommand({ FunctionName: 'go', Payload: Buffer.from(JSON.stringify(event)) }))
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
