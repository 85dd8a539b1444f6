"""The runtime as a client of Lambda's Runtime API: beside extensions, which the supervisor serves too. One kept connection,
requests and answers whose length is known."""
import json
import os
import socket
import sys

from .handlers import Call, load, look_in, payload_of, perform
from .logs import Logs

VERSION = "/2018-06-01/runtime"


class Api:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self._address = address
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb", 64 * 1024)

    def next(self):
        _, headers, body = self._send("GET", "/invocation/next")
        said = lambda name: headers.get("lambda-runtime-" + name)
        call = Call(said("aws-request-id"), said("invoked-function-arn"), said("trace-id"), said("client-context"), int(said("deadline-ms")))
        return call, body

    def response(self, call, body):
        self._send("POST", "/invocation/%s/response" % call.request_id, body, "Content-Type: application/json\r\n")

    def error(self, call, error):
        self._error("/invocation/%s/error" % call.request_id, error)

    def init_error(self, error):
        self._error("/init/error", error)

    def leave(self):
        """In a process that was forked, to whom the connection does not belong."""
        if self._socket.fileno() >= 0:
            os.close(self._socket.detach())

    def _error(self, path, error):
        kind = error["errorType"].encode("ascii", "replace").decode().replace("\r", " ").replace("\n", " ")
        body = json.dumps(error, ensure_ascii=False).encode("utf-8", "backslashreplace")
        self._send("POST", path, body, "Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: %s\r\n" % kind)

    def _send(self, method, path, body=b"", headers=""):
        head = "%s %s%s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n" % (method, VERSION, path, self._address, headers, len(body))
        self._socket.sendall(head.encode("latin-1") + body)
        status = self._line()
        if not status:
            raise SystemExit(1)  # the other side is gone, and this one with it
        answered = {}
        for line in iter(self._line, ""):
            name, _, value = line.partition(":")
            # What is beyond ASCII comes as UTF-8.
            answered[name.lower()] = value.strip().encode("latin-1").decode("utf-8", "replace")
        return int(status.split(" ")[1]), answered, self._answers.read(int(answered.get("content-length", 0)))

    def _line(self):
        return self._answers.readline().decode("latin-1").rstrip("\r\n")


def run():
    api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])
    sys.argv = sys.argv[:1]
    logs = Logs()
    task_root = os.environ.get("LAMBDA_TASK_ROOT") or os.getcwd()
    look_in(task_root, [])
    forks = os.environ.pop("_MAYFLY_FORKS", None) is not None
    try:
        handler = load(os.environ["_HANDLER"])
    except Exception as error:
        told = payload_of(error, "")
        logs.error(told)
        api.init_error(told)
        sys.exit(1)
    if not forks:
        while True:
            call, body = api.next()
            _answer(api, call, *perform(handler, call, body, logs))
    from .forking import Forking, exit_error

    os.register_at_fork(after_in_child=api.leave)
    forking = Forking(lambda call, body: perform(handler, call, body, logs), task_root == "/var/task", set(), _end)
    forking.make_ready()
    while True:
        call, body = api.next()
        told = []
        reason = forking.run(call, body, lambda *outcome: told.append(outcome))
        if reason is None:
            _answer(api, call, *told[0])
        else:
            _answer(api, call, None, exit_error(call, reason, logs))


def _end(code, signal):
    if signal:
        os.kill(os.getpid(), signal)
    os._exit(code)


def _answer(api, call, result, error):
    if error is None:
        api.response(call, result)
    else:
        api.error(call, error)
