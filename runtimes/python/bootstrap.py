"""The Python runtime: runs handlers by Lambda's conventions, a client of the Runtime API that the supervisor serves.

Started ahead (`--ahead`) it is booted before anything is known of the function, and told by descriptor 3 what it
becomes; else its environment says so. User code shares this process.
"""
import importlib
import json
import logging
import os
import sys
import time
import traceback

from api import Api
from forking import Forking
from logs import Logs

STACK_DEPTH_OF_IMPORT = "<frozen importlib"


class Fault(Exception):
    """What Lambda has a name for."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind = kind
        self.trace = list(trace)


class Identity:
    def __init__(self, given):
        self.cognito_identity_id = given.get("cognitoIdentityId")
        self.cognito_identity_pool_id = given.get("cognitoIdentityPoolId")


class Client:
    def __init__(self, given):
        for name in ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"):
            setattr(self, name, given.get(name))


class ClientContext:
    def __init__(self, given):
        self.custom = given.get("custom")
        self.env = given.get("env")
        self.client = Client(given["client"]) if isinstance(given.get("client"), dict) else None


class Context:
    def __init__(self, headers, logs):
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.identity = Identity(_json(headers.get("lambda-runtime-cognito-identity")) or {})
        client = _json(headers.get("lambda-runtime-client-context"))
        self.client_context = ClientContext(client) if isinstance(client, dict) else None
        self.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
        self._deadline_ms = int(headers["lambda-runtime-deadline-ms"])
        self._logs = logs

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def log(self, message):
        self._logs.write(str(message))


def _json(text):
    return None if not text else json.loads(text)


def load(handler):
    """The function that `folder/module.name` or `package.module.name` names."""
    module_name, dot, name = handler.rpartition(".")
    if not dot or not module_name or not name or ".." in handler or handler.startswith("/"):
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s'" % handler)
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault("Runtime.BuiltInModuleConflict", "Cannot use built-in module %s as a handler module" % module_name)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, error), frames_of(error))
    except SyntaxError as error:
        trace = ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, (error.text or "").rstrip("\n"))]
        raise Fault("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module_name, error), trace)
    try:
        return getattr(module, name)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (name, module_name))


def frames_of(error):
    """Where it came from, without what is this file's and the import system's."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith(STACK_DEPTH_OF_IMPORT)
    ]
    return traceback.format_list(frames)


def payload_of(error, request_id):
    """The error as callers see it; nothing that user code does to its exceptions keeps it from being told."""
    if isinstance(error, Fault):
        kind, trace = error.kind, error.trace
    else:
        kind, trace = type(error).__name__, frames_of(error)
    try:
        message = str(error)
    except BaseException:
        message = "the error has no text"
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": trace}


def encode(value):
    try:
        text = json.dumps(value, ensure_ascii=False)
    except Exception as error:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a character, which only an escape can write
        return json.dumps(value).encode()


def become(fields):
    """Takes what a process otherwise has from its start."""
    before = os.environ.get("PYTHONPATH")
    os.environ.clear()
    os.environ.update(fields["environment"])
    os.chdir(fields["cwd"])
    time.tzset()
    given = os.environ.get("PYTHONPATH")
    return [] if given in (None, "", before) else given.split(os.pathsep)


def look_in(task_root, further):
    """Code first, then layers, as on Lambda; this file's own folder is nobody's."""
    opt = "/opt" if task_root == "/var/task" else os.path.join(os.path.dirname(task_root), "opt")
    layers = ["%s/python/lib/python%d.%d/site-packages" % (opt, *sys.version_info[:2]), "%s/python" % opt]
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [task_root, *layers, *further, *(place for place in sys.path if place != own)]
    importlib.invalidate_caches()


def wait_ahead():
    # The first of each costs more than all that follow.
    json.loads(json.dumps({"a": [1, "é", None]}))
    try:
        raise ValueError("first")
    except ValueError as error:
        payload_of(error, "")
    logging.getLogger()
    with open(3, "rb") as told:
        said = told.read()
    if not said:
        os._exit(0)
    return json.loads(said)


def answer(api, logs, handler, headers, body):
    request_id = headers["lambda-runtime-aws-request-id"]
    logs.request_id = request_id
    trace_id = headers.get("lambda-runtime-trace-id")
    if trace_id:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    try:
        try:
            event = json.loads(body)
        except ValueError as error:
            raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error)
        result = encode(handler(event, Context(headers, logs)))
    except Exception as error:
        told = payload_of(error, request_id)
        logs.error(told)
        api.error(request_id, told)
    else:
        logs.flush()
        api.response(request_id, result)
    logs.request_id = None


def run(api, logs, handler):
    while True:
        answer(api, logs, handler, *api.next())


def run_forked(api, logs, handler, forking):
    while True:
        headers, body = api.next()
        reason = forking.run(api, lambda own: answer(own, logs, handler, headers, body))
        if reason is not None:
            request_id = headers["lambda-runtime-aws-request-id"]
            message = "RequestId: %s Error: %s" % (request_id, reason)
            logs.write("%s\nRuntime.ExitError\n" % message)
            api.error(request_id, {"errorType": "Runtime.ExitError", "errorMessage": message})


def main():
    api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])
    further = []
    if "--ahead" in sys.argv[1:]:
        fields = wait_ahead()
        further = become(fields)
    sys.argv = [__file__]
    logs = Logs()
    task_root = os.getcwd() if "LAMBDA_TASK_ROOT" not in os.environ else os.environ["LAMBDA_TASK_ROOT"]
    look_in(task_root, further)
    forks = os.environ.pop("_MAYFLY_FORKS", None) is not None
    try:
        handler = load(os.environ["_HANDLER"])
    except Exception as error:
        told = payload_of(error, "")
        logs.error(told)
        api.init_error(told)
        sys.exit(1)
    if not forks:
        return run(api, logs, handler)
    # Beside the host's other programs, in the driver that keeps nothing apart, /tmp is not its own.
    run_forked(api, logs, handler, Forking(os.environ["AWS_LAMBDA_RUNTIME_API"], is_own_tmp=task_root == "/var/task"))


main()
