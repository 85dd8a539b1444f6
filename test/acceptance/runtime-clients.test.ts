import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, it } from 'node:test'
import { failureOf, providedNode } from './provided-fixture.ts'

// What people really put behind `provided`: a shell script, C, the client that AWS makes for Python. Those for Go and Rust take minutes to build: test/toolchains.
const { folderFor, deploy, invoke } = providedNode()
const filesIn = (at: string): Record<string, Buffer> =>
  Object.fromEntries(
    readdirSync(at, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .map((file) => [path.relative(at, file), readFileSync(file)]),
  )

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
