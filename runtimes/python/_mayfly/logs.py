"""What handlers log, in Lambda's two forms; what they print goes out as it is."""
import io
import json
import os
import sys
import time
from _frozen_importlib_external import PathFinder

NO_BREAK_SPACE = "\u00a0"
LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40, "FATAL": 50}
#: As logging names them.
NAMES = {"WARNING": "WARN", "CRITICAL": "FATAL"}


class Output(io.RawIOBase):
    """An output of the language: each write goes out at once. What else writes to its descriptor comes by a pipe."""

    mode = "wb"

    def __init__(self, descriptor, name, write):
        self._descriptor = descriptor
        self.name = name
        self.send = write

    def write(self, data):
        view = memoryview(data).cast("B")
        self.send(view)
        return len(view)

    def writable(self):
        return True

    def fileno(self):
        return self._descriptor

    def leave(self):
        """In a process that was forked the descriptor is the only way."""
        self.send = lambda view: _write_all(self._descriptor, view)


def _write_all(descriptor, view):
    while view:
        view = view[os.write(descriptor, view) :]


def open_output(descriptor, name, errors, write):
    output = Output(descriptor, name, write)
    return output, io.TextIOWrapper(output, encoding="utf-8", errors=errors, newline="\n", write_through=True)


class _WhenLogging:
    """Hears of the first import of `logging`, which is a megabyte that many functions never need."""

    def __init__(self, then):
        self._then = then

    def find_spec(self, name, path=None, _target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            self._then(module)

        spec.loader.exec_module = exec_module
        return spec


class Logs:
    """What the root logger's handler needs, and where the runtime's own lines go."""

    def __init__(self):
        self.request_id = None
        self._json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
        loaded = sys.modules.get("logging")
        if loaded is not None:
            self._attach(loaded)
        else:
            sys.meta_path.insert(0, _WhenLogging(self._attach))

    def _attach(self, logging):
        logs, form = self, logging.Formatter()

        class Handler(logging.Handler):
            def emit(self, record):
                try:
                    record.aws_request_id = logs.request_id or ""
                    logs.write(logs._in_json(record, form) if logs._json else logs._in_text(record, form))
                except Exception:
                    self.handleError(record)

            def flush(self):
                logs.flush()

        root = logging.getLogger()
        root.addHandler(Handler())
        if self._json:
            root.setLevel(LEVELS.get(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper(), logging.INFO))

    def write(self, text):
        sys.stdout.write(text)
        self.flush()

    def flush(self):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass  # the handler's own, or closed by it

    def error(self, payload):
        """An error that ended a call, as one line: its own breaks are carriage returns."""
        self.flush()
        if self._json:
            line = {"timestamp": _stamp(time.time(), False), "log_level": "ERROR", **payload}
            return self.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n")
        lines = ["[ERROR] %s: %s" % (payload["errorType"], payload["errorMessage"])]
        if payload["stackTrace"]:
            lines.append("Traceback (most recent call last):")
            for part in payload["stackTrace"]:
                lines.extend(_indented(line) for line in part.rstrip("\n").split("\n"))
        self.write("\r".join(lines).encode("utf-8", "replace").decode() + "\n")

    def _in_text(self, record, form):
        return "[%s]\t%s\t%s\t%s\n" % (record.levelname, _stamp(record.created, True), record.aws_request_id, form.format(record))

    def _in_json(self, record, form):
        line = {
            "timestamp": _stamp(record.created, False),
            "level": NAMES.get(record.levelname, record.levelname),
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["stackTrace"] = form.formatException(record.exc_info).split("\n")
            line["errorType"] = record.exc_info[0].__name__
            line["errorMessage"] = str(record.exc_info[1])
            line["location"] = "%s:%s:%d" % (record.pathname, record.funcName, record.lineno)
        line["requestId"] = record.aws_request_id
        return json.dumps(line, ensure_ascii=False, default=str) + "\n"


def _indented(line):
    text = line.lstrip(" ")
    return NO_BREAK_SPACE * (len(line) - len(text)) + text


def _stamp(seconds, with_milliseconds):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return "%s.%03dZ" % (stamp, int(seconds * 1000) % 1000) if with_milliseconds else stamp + "Z"
