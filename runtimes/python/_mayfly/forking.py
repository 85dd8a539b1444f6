"""`reuse: fork`: each call runs in a process of its own, forked from the one that has loaded the code.

What a call leaves in memory, in /tmp and of processes is gone before the next one comes.
"""
import gc
import json
import os
import signal
import sys
from _struct import Struct

from .handlers import Call

PR_SET_CHILD_SUBREAPER = 36
TMP = "/tmp"
SIZES = Struct("<II")
PIECE = 64 * 1024


class Forking:
    """One process waits ahead for each call, so that a call does not pay for the fork."""

    def __init__(self, work, is_own_tmp, children):
        """
        @param work  what a call does: gives what `perform` gives
        @param children  the processes of calls, for who ends them with this one
        """
        # What called processes start and leave behind comes to this one, which ends it.
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._work = work
        self._tmp = set(os.listdir(TMP)) if is_own_tmp else None
        self._mine = self._children()
        self._running = children
        self._next = None
        #: Of a call's own process.
        self._tells = None
        os.register_at_fork(after_in_child=self._forget_tells)
        # Pages of what was loaded stay shared: the collector of a child writes into none of its objects.
        gc.collect()
        gc.freeze()

    def make_ready(self):
        """Has the process of the next call wait for it."""
        if self._next is not None:
            return
        asked, asks = os.pipe()
        hears, tells = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(asks)
            os.close(hears)
            # From here on a further fork is a process that the call started.
            self._tells = tells
            _be_child(self._work, asked, tells)
        self._running.add(child)
        os.close(asked)
        os.close(tells)
        self._next = child, asks, hears

    def run(self, call, body, told):
        """Has the process that waits do its work; `told` hears the outcome before what it left is cleared away. Returns why there is none."""
        self.make_ready()
        child, asks, hears = self._next
        self._next = None
        try:
            _write(asks, json.dumps(call.__dict__).encode(), body)
        except BrokenPipeError:
            pass  # it ended while it waited
        os.close(asks)
        pieces = _read(hears)
        os.close(hears)
        if pieces is not None:
            error = json.loads(pieces[0])
            told(pieces[1] if error is None else None, error)
        _, status = os.waitpid(child, 0)
        self._running.discard(child)
        self._end_what_is_left()
        self._empty_tmp()
        return None if pieces is not None else _reason(status)

    def _forget_tells(self):
        """What a call starts must not keep its answer open."""
        if self._tells is not None:
            os.close(self._tells)
            self._tells = None

    def _end_what_is_left(self):
        try:
            # Without any child, as is usual, there is nothing to look for.
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        while True:
            left = self._children() - self._mine
            if not left:
                return
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                except (ProcessLookupError, ChildProcessError):
                    pass

    def _children(self):
        with open("/proc/self/task/%d/children" % os.getpid()) as file:
            return {int(pid) for pid in file.read().split()}

    def _empty_tmp(self):
        if self._tmp is None:
            return
        for name in os.listdir(TMP):
            if name not in self._tmp:
                _remove(os.path.join(TMP, name))


def _prctl(*arguments):
    try:
        # What `ctypes` is made of; itself it takes some milliseconds and a fifth of a megabyte.
        import _ctypes

        function = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
        answer = _ctypes.call_function(function, arguments)
    except (ImportError, AttributeError):
        import ctypes

        answer = ctypes.CDLL(None).prctl(*arguments)
    if answer != 0:
        raise OSError("the kernel does not let a process take those that lose theirs")


def exit_error(call, reason, logs):
    """What the caller gets of a call whose process ended without an answer; the log says it too."""
    message = "RequestId: %s Error: %s" % (call.request_id, reason)
    logs.write("%s\nRuntime.ExitError\n" % message)
    return {"errorType": "Runtime.ExitError", "errorMessage": message}


def _remove(place):
    if os.path.isdir(place) and not os.path.islink(place):
        os.chmod(place, 0o700)
        for name in os.listdir(place):
            _remove(os.path.join(place, name))
        os.rmdir(place)
    else:
        os.unlink(place)


def _write(descriptor, head, body):
    data = memoryview(SIZES.pack(len(head), len(body)) + head + body)
    while data:
        data = data[os.write(descriptor, data) :]


def _read(descriptor):
    """Head and body, or None where the other ended before all of it was there."""
    data = bytearray()
    while True:
        piece = os.read(descriptor, PIECE)
        data += piece
        if len(data) >= SIZES.size:
            head, body = SIZES.unpack_from(data)
            if len(data) == SIZES.size + head + body:
                return data[SIZES.size : SIZES.size + head], bytes(data[SIZES.size + head :])
        if not piece:
            return None


def _be_child(work, asked, tells):
    code = 1
    try:
        pieces = _read(asked)
        os.close(asked)
        if pieces is None:
            os._exit(0)  # who forked it is gone
        result, error = work(Call(**json.loads(pieces[0])), pieces[1])
        _write(tells, json.dumps(error).encode(), result or b"")
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0 if left.code is None else 1
        if left.code is not None and not isinstance(left.code, int):
            print(left.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass  # the handler's own, or closed by it
        os._exit(code & 0xFF)


def _reason(status):
    if os.WIFSIGNALED(status):
        return "Runtime exited with error: signal: %s" % signal.strsignal(os.WTERMSIG(status)).lower()
    code = os.WEXITSTATUS(status)
    return "Runtime exited without providing a reason" if code == 0 else "Runtime exited with error: exit status %d" % code
