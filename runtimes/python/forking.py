"""`reuse: fork`: each call runs in a process of its own, forked from the one that has loaded the code.

What a call leaves in memory, in /tmp and of processes is gone before the next one comes.
"""
import gc
import os
import signal
import sys

from api import Api

PR_SET_CHILD_SUBREAPER = 36
TMP = "/tmp"


class Forking:
    def __init__(self, address, is_own_tmp):
        import ctypes  # only here: it takes milliseconds

        self._address = address
        # What called processes start and leave behind comes to this one, which ends it.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._tmp = set(os.listdir(TMP)) if is_own_tmp else None
        self._mine = self._children()
        # Pages of what was loaded stay shared: the collector of a child writes into none of its objects.
        gc.collect()
        gc.freeze()

    def run(self, api, work):
        """Has a child do `work(api)`, which answers. Returns why there is no answer, or None."""
        sys.stdout.flush()
        sys.stderr.flush()
        told, tells = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(told)
            api.close()
            _be_child(lambda: work(Api(self._address)), tells)
        os.close(tells)
        _, status = os.waitpid(child, 0)
        # One that was left behind may hold it open too: it is ended first.
        self._end_what_is_left()
        answered = os.read(told, 1) != b""
        os.close(told)
        self._empty_tmp()
        return None if answered else _reason(status)

    def _end_what_is_left(self):
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


def _remove(place):
    if os.path.isdir(place) and not os.path.islink(place):
        os.chmod(place, 0o700)
        for name in os.listdir(place):
            _remove(os.path.join(place, name))
        os.rmdir(place)
    else:
        os.unlink(place)


def _be_child(work, tells):
    code = 1
    try:
        work()
        os.write(tells, b"1")
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
