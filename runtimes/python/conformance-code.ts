import type { Code, HandlerName, LoadFault } from '../conformance/runtime.ts'

const handler = (body: string) => `import json, os, sys, threading, time\ndef handler(event, context):\n${body.replace(/^/gm, '    ')}\n`

type Called = Exclude<HandlerName, `fetch${string}`>

/** The handlers of the suite; those of features that Python does not say are never asked for. */
export const HANDLER_CODE: Readonly<Partial<Record<Called, string>>> = {
  echo: handler('return event'),
  context: handler(`client = context.client_context
return {
    'functionName': context.function_name, 'functionVersion': context.function_version, 'functionArn': context.invoked_function_arn,
    'memoryMb': int(context.memory_limit_in_mb), 'logGroup': context.log_group_name, 'logStream': context.log_stream_name,
    'invocationId': context.aws_request_id, 'clientContext': client and {'custom': client.custom},
    'remainingMs': context.get_remaining_time_in_millis(),
}`),
  environment: `import os\nat_load = dict(os.environ)\n${handler("return {'atLoad': at_load, 'atCall': dict(os.environ)}")}`,
  sleep: handler("print('begin', event['name'])\ntime.sleep(event['ms'] / 1000)\nprint('end', event['name'])\nreturn event['name']"),
  throws: handler("raise Exception(event['message'])"),
  exit: handler("sys.stdout.write('x' * event['bytes'])\ntime.sleep(event['ms'] / 1000)\nprint('last words')\nsys.exit(event['code'])"),
  big: handler("return 'x' * event['bytes']"),
  strange: handler('return {1, 2}'),
  logs: handler("sys.stdout.write(event['out'])\nsys.stderr.write(event['err'])"),
  flood: handler("for _ in range(event['pieces']): sys.stdout.write('x' * event['bytes'])"),
  busy: `import threading, time\nthreading.Thread(target=lambda: [time.sleep(0.005) for _ in iter(int, 1)], daemon=True).start()\n${handler('return None')}`,
  loadLogs: `print('loading')\n${handler('return None')}`,
}

const code = (text: string, name = 'index.handler'): Code => ({ files: { 'index.py': text }, handler: name })
const ECHO = HANDLER_CODE.echo as string

export const LOAD_FAULT_CODE: Readonly<Partial<Record<LoadFault, Code>>> = {
  'the file of the handler is missing': code(ECHO, 'other.handler'),
  'a module that the code needs is missing': code(`import a_package_that_is_not_there\n${ECHO}`),
  'the code cannot be parsed': code('def handler(:\n'),
  'the handler is not in the code': code('another = 1'),
  'the name of the handler has no dot': code(ECHO, 'index'),
  'the name of the handler leads out of the folder': code(ECHO, '../index.handler'),
  'the code throws the ordinary error with the message `at load`': code("raise Exception('at load')"),
}

export const FURTHER_FAULTS: Readonly<Record<string, Code & { readonly errorType: string }>> = {
  'the module of the handler is one of Python’s own': { ...code(ECHO, 'sys.exit'), errorType: 'Runtime.BuiltInModuleConflict' },
  'a module of the code has an error in it': { ...code('1 / 0'), errorType: 'ZeroDivisionError' },
}
