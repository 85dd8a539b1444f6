"""Handlers by Lambda's conventions: found, given their events, and their errors told."""
import importlib
import json
import os
import sys
import time

IMPORT_SYSTEM = "<frozen importlib"
OWN = os.path.dirname(os.path.abspath(__file__)) + os.sep


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
    def __init__(self, call, write):
        environment = os.environ.get
        self.aws_request_id = call.request_id
        self.invoked_function_arn = call.arn
        self.function_name = environment("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = environment("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = environment("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = environment("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = environment("AWS_LAMBDA_LOG_STREAM_NAME")
        self.identity = Identity({})
        client = _json(call.client_context)
        self.client_context = ClientContext(client) if isinstance(client, dict) else None
        self.tenant_id = None
        self._deadline_ms = call.deadline_ms
        self._write = write

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def log(self, message):
        self._write(str(message))


class Call:
    """What is known of one invocation, wherever it came from."""

    def __init__(self, request_id, arn, trace_id, client_context, deadline_ms):
        self.request_id = request_id
        self.arn = arn
        self.trace_id = trace_id
        self.client_context = client_context
        self.deadline_ms = deadline_ms


def _json(text):
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


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
    """Where it came from, without what is the runtime's and the import system's."""
    import traceback  # only here: it is half a megabyte

    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((OWN, IMPORT_SYSTEM))
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


_TRACE = os.environ.encodekey("_X_AMZN_TRACE_ID")


def show_trace(trace_id):
    # In the mapping alone: the C library keeps each value that a variable ever had, so that every call would leave its own.
    if trace_id:
        os.environ._data[_TRACE] = os.environ.encodevalue(trace_id)
    else:
        os.environ._data.pop(_TRACE, None)


def perform(handler, call, body, logs):
    """@returns its result as bytes and None, or None and the error as callers see it"""
    logs.request_id = call.request_id
    show_trace(call.trace_id)
    try:
        try:
            event = json.loads(body)
        except ValueError as error:
            raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error)
        result = encode(handler(event, Context(call, logs.write)))
    except Exception as error:
        told = payload_of(error, call.request_id)
        logs.error(told)
        return None, told
    finally:
        logs.request_id = None
    logs.flush()
    return result, None


def look_in(task_root, further):
    """Code first, then layers, as on Lambda; the runtime's own folder is nobody's."""
    opt = opt_of(task_root)
    layers = ["%s/python/lib/python%d.%d/site-packages" % (opt, *sys.version_info[:2]), "%s/python" % opt]
    own = os.path.dirname(OWN.rstrip(os.sep))
    sys.path[:] = [task_root, *layers, *further, *(place for place in sys.path if place != own)]
    # These alone: to look anew everywhere loads, from Python 3.12 on, the reader of packages' metadata.
    for place in (task_root, *layers):
        sys.path_importer_cache.pop(place, None)


def opt_of(task_root):
    """Where layers lie: beside the code, where that is not in its place."""
    return "/opt" if task_root == "/var/task" else os.path.join(os.path.dirname(task_root), "opt")
