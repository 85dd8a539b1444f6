"""What handlers log, in Lambda's two forms; what they print goes out as it is."""
import json
import logging
import os
import sys
import time

NO_BREAK_SPACE = "\u00a0"
LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40, "FATAL": 50}


class Logs(logging.Handler):
    """The root logger's handler, and where the runtime's own lines go."""

    def __init__(self):
        super().__init__()
        self.request_id = None
        self._json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
        self._form = logging.Formatter()
        root = logging.getLogger()
        root.addHandler(self)
        if self._json:
            root.setLevel(LEVELS.get(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper(), logging.INFO))

    def emit(self, record):
        try:
            record.aws_request_id = self.request_id or ""
            self.write(self._in_json(record) if self._json else self._in_text(record))
        except Exception:
            self.handleError(record)

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

    def _in_text(self, record):
        return "[%s]\t%s\t%s\t%s\n" % (record.levelname, _stamp(record.created, True), record.aws_request_id, self._form.format(record))

    def _in_json(self, record):
        line = {
            "timestamp": _stamp(record.created, False),
            "level": {"WARNING": "WARN", "CRITICAL": "FATAL"}.get(record.levelname, record.levelname),
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["stackTrace"] = self._form.formatException(record.exc_info).split("\n")
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
