"""`reuse: fork`: each call runs in a process of its own, forked from the one that has loaded the code.

What a call leaves in memory, in /tmp and of processes is gone before the next one comes.
"""
import ctypes
import gc
import json
import os
import signal
import sys

from . import frames as f

PR_SET_CHILD_SUBREAPER = 36
TMP = "/tmp"
RESULT, ERROR = b"r", b"e"
PIECE = 64 * 1024


class Forking:
    def __init__(self, is_own_tmp, children):
        """@param children  the processes of calls, for who ends them with this one"""
        # What called processes start and leave behind comes to this one, which ends it.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._tmp = set(os.listdir(TMP)) if is_own_tmp else None
        self._mine = self._children()
        self._running = children
        self._tells = None
        os.register_at_fork(after_in_child=self._forget_tells)
        # Pages of what was loaded stay shared: the collector of a child writes into none of its objects.
        gc.collect()
        gc.freeze()

    def run(self, work, told):
        """Has a child do `work`, which gives what `perform` gives; `told` hears that before what the child left is cleared away."""
        hears, tells = os.pipe()
        child = os.fork()
        if child == 0:
            # From here on a further fork is a process that the call started.
            self._tells = tells
            os.close(hears)
            _be_child(work, tells)
        self._running.add(child)
        os.close(tells)
        message = _read(hears)
        os.close(hears)
        if message is not None:
            told(*message)
        _, status = os.waitpid(child, 0)
        self._running.discard(child)
        self._end_what_is_left()
        self._empty_tmp()
        return None if message is not None else _reason(status)

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


def _read(hears):
    """What the child tells, or None where it ended before all of it was told."""
    data = bytearray()
    while True:
        piece = os.read(hears, PIECE)
        data += piece
        if len(data) >= 5 and len(data) == 5 + f.U32.unpack_from(data, 1)[0]:
            break
        if not piece:
            return None
    body = bytes(data[5:])
    return (body, None) if data[:1] == RESULT else (None, json.loads(body))


def _tell(tells, result, error):
    body = result if error is None else json.dumps(error).encode()
    data = memoryview((RESULT if error is None else ERROR) + f.U32.pack(len(body)) + body)
    while data:
        data = data[os.write(tells, data) :]


def _be_child(work, tells):
    code = 1
    try:
        _tell(tells, *work())
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0 if left.code is None else 1
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
