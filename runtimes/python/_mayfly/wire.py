"""Descriptor 3: frames to the host and from it. The thread that runs user code reads it; any thread writes."""
import json
import os
from _socket import MSG_DONTWAIT, socket
from _thread import RLock
from select import POLLIN, poll
from time import monotonic

from . import frames as f

CHUNK = 32 * 1024
#: After so many pieces of log the credit that they came to is looked for.
LOOK_EVERY = 64
LEAVING_S = 2
#: What is kept of an error that does not fit a frame.
MAX_TEXT, MAX_LINES, MAX_LINE = 16_000, 20, 500

#: As they are before user code could change them.
leave_at_once = os._exit


def fitting(told):
    """An error in JSON, shortened to what one frame takes."""
    data = _json(told)
    if len(data) <= f.MAX:
        return data
    short = {"errorMessage": told["errorMessage"][:MAX_TEXT], "errorType": told["errorType"][:200], "requestId": told.get("requestId")}
    lines = told.get("stackTrace", ())
    short["stackTrace"] = [line[:MAX_LINE] for line in lines[:MAX_LINES]]
    data = _json(short)
    return data if len(data) <= f.MAX else _json({"errorType": short["errorType"], "errorMessage": short["errorMessage"][:1000]})


def _json(value):
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


class Wire:
    def __init__(self):
        os.set_blocking(3, True)
        os.set_inheritable(3, False)
        self.lock = RLock()
        self.call = 0
        self.muted = False
        self.outputs = ()
        self._socket = socket(fileno=3)
        self._held = b""
        self._ready = []
        self._waits = True
        self._queue = []
        self._sending = False
        self._credit = 0
        self._sandbox_credit = f.SANDBOX_WINDOW
        self._log_left = f.LOG_WINDOW
        self._logged = 0
        self._lost = {}
        self._poll = poll()
        self._code = 0

    def leave(self):
        """The host is gone, and we with it."""
        leave_at_once(self._code)

    # ── out ──

    def send(self, kind, flags, stream, payload=b""):
        if self.muted:
            return
        with self.lock:
            self._queue.append(f.frame(kind, flags, stream, payload))
            # A signal's handler may come in the midst of a write, and write too.
            if self._sending:
                return
            self._sending = True
            try:
                while self._queue:
                    data = b"".join(self._queue)
                    self._queue.clear()
                    self._socket.sendall(data)
            except OSError:
                self.leave()
            finally:
                self._sending = False

    def result(self, data, last=f.DONE):
        """The outcome of the call, which is over with its last frame unless `last` is 0."""
        call = self.call
        if len(data) <= f.MAX:
            self.over(last)
            return self.send(f.RESULT, f.FIN | last, call, data)
        self.send(f.RESULT, 0, call)
        view = memoryview(data)
        for at in range(0, len(data), f.MAX):
            piece = view[at : at + f.MAX]
            while self._credit < len(piece) or self._sandbox_credit < len(piece):
                self._wait()
            self._credit -= len(piece)
            self._sandbox_credit -= len(piece)
            self.send(f.DATA, 0, call, bytes(piece))
        self.over(last)
        self.send(f.END, f.FIN | last, call)

    def error(self, told, last=f.DONE):
        call = self.call
        self.over(last)
        self.send(f.CALL_ERROR, last, call, fitting(told))

    def done(self):
        """Nothing is left of a call that has its outcome."""
        call = self.call
        self.over(True)
        self.send(f.SAYS_DONE, 0, call)

    def over(self, last):
        """What was written up to now belongs to the call; what comes later does not."""
        if not last:
            return
        with self.lock:
            self.drain()
            self.tell_lost()
            self.call = 0

    # ── what the code writes ──

    def log(self, flag, data):
        """One write of the code as a whole: sent while there is credit, else counted; never waited for."""
        with self.lock:
            self.drain()
            self._log(flag, data)

    def _log(self, flag, data):
        size = len(data)
        if self.muted or size == 0:
            return
        self._logged += 1
        if size > self._log_left or self._logged >= LOOK_EVERY:
            self._logged = 0
            if not self._waits:
                self._look()
        if size > self._log_left:
            self._lost[self.call] = self._lost.get(self.call, 0) + size
            return
        self._log_left -= size
        for at in range(0, size, f.MAX):
            self.send(f.LOG, flag, self.call, bytes(data[at : at + f.MAX]))

    def tell_lost(self):
        with self.lock:
            for call, size in self._lost.items():
                self.send(f.LOG_LOST, 0, call, f.U32.pack(min(size, 0xFFFFFFFF)))
            self._lost.clear()

    def listen_to(self, outputs):
        """`(descriptor, flag)` of the ends of pipes in which arrives what is written beside the language's own streams."""
        self.outputs = outputs
        for descriptor, _ in outputs:
            self._poll.register(descriptor, POLLIN)

    def drain(self):
        with self.lock:
            if not self.outputs or not self._poll.poll(0):
                return
            for descriptor, flag in self.outputs:
                for _ in range(64):
                    try:
                        data = os.read(descriptor, f.MAX)
                    except OSError:
                        break
                    if not data:
                        break
                    self._log(flag, data)

    @property
    def log_spent(self):
        return f.LOG_WINDOW - self._log_left

    # ── in ──

    def next(self):
        """The next frame that is not about credit; waits for it."""
        while not self._ready:
            self._wait()
        return self._ready.pop(0)

    def begin(self, call):
        self.call = call
        self._credit = f.STREAM_WINDOW
        self._waits = False

    def _wait(self):
        self._waits = True
        try:
            chunk = self._socket.recv(CHUNK)
        except InterruptedError:
            return
        except OSError:
            self.leave()
        with self.lock:
            self._waits = False
            self._take(chunk)

    def _look(self):
        while True:
            try:
                chunk = self._socket.recv(CHUNK, MSG_DONTWAIT)
            except OSError:
                return
            self._take(chunk)

    def _take(self, chunk):
        if not chunk:
            self.leave()
        frames, self._held = f.split(self._held, chunk)
        for frame in frames:
            kind, flags, stream, payload = frame
            if kind != f.CREDIT:
                self._ready.append(frame)
            elif flags & f.STDOUT:
                self._log_left += f.U32.unpack(payload)[0]
            else:
                size = f.U32.unpack(payload)[0]
                self._sandbox_credit += size
                if stream == self.call:
                    self._credit += size

    # ── handing over, and the end ──

    def close(self):
        """In a process that was forked, to whom it does not belong."""
        os.close(self._socket.detach())
        for descriptor, _ in self.outputs:
            os.close(descriptor)

    def state(self):
        """What a process that goes on with the descriptor must know."""
        return {"spent": self.log_spent, "held": self._held.hex()}

    def resume(self, state):
        self._log_left -= state["spent"]
        self._held = bytes.fromhex(state["held"])

    def farewell(self, code, signal=0):
        """The last frame. Who ends first takes from the other what it has not read: the host closes when it has read it."""
        self._code = code & 0xFF
        self.drain()
        self.tell_lost()
        self.send(f.EXITING, 0, 0, bytes((code & 0xFF, signal, 0, 0)))
        until = monotonic() + LEAVING_S
        try:
            while monotonic() < until:
                self._socket.settimeout(max(0.01, until - monotonic()))
                if not self._socket.recv(CHUNK):
                    return
        except OSError:
            pass
