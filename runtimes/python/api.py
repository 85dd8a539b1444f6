"""The client's side of the Runtime API: one kept connection, requests and answers whose length is known."""
import json
import socket

VERSION = "/2018-06-01/runtime"


class Api:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self._address = address
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb", 64 * 1024)

    def close(self):
        self._answers.close()
        self._socket.close()

    def next(self):
        _, headers, body = self._send("GET", "/invocation/next")
        return headers, body

    def response(self, request_id, body):
        self._send("POST", "/invocation/%s/response" % request_id, body, "Content-Type: application/json\r\n")

    def error(self, request_id, error):
        self._error("/invocation/%s/error" % request_id, error)

    def init_error(self, error):
        self._error("/init/error", error)

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
