"""`reuse: fork`: each call runs in a process of its own, forked from one that has loaded the code.

What a call leaves in memory, in /tmp, in /dev/shm and of processes is gone before the next one comes; where something of it
cannot be taken back, the sandbox ends. The process that forks is another than the one that speaks with the host: what that one
reads and writes is in no memory that a call gets a copy of.
"""
import gc
import json
import os
import signal
import sys
from _socket import AF_UNIX, CMSG_SPACE, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socketpair
from _struct import Struct

from .handlers import Call

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36
#: All that user code can write to and that outlives its processes.
PLACES = ("/tmp", "/dev/shm")
SYSTEM_V = ("/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg")
SIZES = Struct("<II")
STATUS = Struct("<i")
ENDS = Struct("<ii")
PIECE = 64 * 1024


class Forking:
    """Of the process that speaks with the host: gives each call to the process that waits for it."""

    def __init__(self, work, is_alone, children, end):
        """
        @param work  what a call does: gives what `perform` gives
        @param is_alone  whether all that PLACES and this user's processes are, is the sandbox's own
        @param children  the processes of calls, for who ends them with this one
        @param end  ends this process with a code and a signal
        """
        self._work, self._is_alone, self._running, self._end = work, is_alone, children, end
        self._maker = self._hand = None

    def make_ready(self):
        """Starts what makes the processes of calls: one waits ahead for each, so that a call does not pay for the fork."""
        # Pages of what was loaded stay shared: the collector of a child writes into none of its objects.
        gc.collect()
        gc.freeze()
        # Calls run as the same user: whatever of memory and descriptors the kernel would show them of this process, it does not.
        _prctl(PR_SET_DUMPABLE, 0)
        self._hand, given = socketpair(AF_UNIX, SOCK_SEQPACKET)
        beside = os.getpid()
        self._maker = os.fork()
        if self._maker == 0:
            self._hand.close()
            Maker(self._work, self._is_alone, given, beside).run()
        given.close()
        self._running.add(self._maker)

    def run(self, call, body, told):
        """Has the process that waits do its work; `told` hears the outcome before what it left is cleared away. Returns why there is none."""
        child, asks, hears = self._next()
        self._running.add(child)
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
        (status,) = STATUS.unpack(self._heard(self._hand.recv(STATUS.size)))
        self._running.discard(child)
        return None if pieces is not None else _reason(status)

    def _next(self):
        data, given, _, _ = self._hand.recvmsg(STATUS.size, CMSG_SPACE(ENDS.size))
        (child,) = STATUS.unpack(self._heard(data))
        return (child, *ENDS.unpack(given[0][2]))

    def _heard(self, data):
        """Without who makes them there are no further calls here."""
        if not data:
            _, status = os.waitpid(self._maker, 0)
            self._end(os.WEXITSTATUS(status), 0) if os.WIFEXITED(status) else self._end(0, os.WTERMSIG(status))
        return data


class Maker:
    """Has loaded the code and forks a process for each call; of the calls themselves it knows nothing."""

    def __init__(self, work, is_alone, hand, beside):
        # What called processes start and leave behind comes to this one, which ends it.
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._work, self._hand = work, hand
        self._left = Leavings((os.getpid(), beside)) if is_alone else None
        #: Of a call's own process.
        self._tells = None
        os.register_at_fork(after_in_child=self._forget_tells)

    def run(self):
        try:
            while True:
                self._one()
        except (BrokenPipeError, ConnectionResetError):
            pass  # who speaks with the host is gone
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)

    def _one(self):
        asked, asks = os.pipe()
        hears, tells = os.pipe()
        child = os.fork()
        if child == 0:
            self._hand.close()
            os.close(asks)
            os.close(hears)
            # Without who clears away behind it, it is over.
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            # Its own memory may be looked at again: there is nothing of others in it.
            _prctl(PR_SET_DUMPABLE, 1)
            # From here on a further fork is a process that the call started.
            self._tells = tells
            _be_child(self._work, asked, tells)
        os.close(asked)
        os.close(tells)
        self._hand.sendmsg([STATUS.pack(child)], [(SOL_SOCKET, SCM_RIGHTS, ENDS.pack(asks, hears))])
        os.close(asks)
        os.close(hears)
        _, status = os.waitpid(child, 0)
        self._end_what_is_left()
        # What it made of the outputs that all calls share.
        for output in (1, 2):
            try:
                os.set_blocking(output, True)
            except OSError:
                pass  # what was loaded has closed it
        changed = None if self._left is None else self._left.clear()
        if changed is not None:
            _write_out("the call changed %s: no other runs here\n" % changed)
            os._exit(1)
        self._hand.send(STATUS.pack(status))

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
            with open("/proc/self/task/%d/children" % os.getpid()) as file:
                left = file.read().split()
            if not left:
                return
            for pid in map(int, left):
                try:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                except (ProcessLookupError, ChildProcessError):
                    pass


class Leavings:
    """What is there beside processes before the first call, and must be so before each: files, and what the kernel lets one process do to another of its user."""

    def __init__(self, pids):
        self._pids = pids
        self._files = {}
        for place in PLACES:
            self._keep(place, None, self._files)
        self._first = _regions()
        # What loading has started may start others.
        self._is_quiet = _processes() == {1, *pids}
        self._state = self._look()

    def clear(self):
        """Takes away what is new. @returns what cannot be made as it was, in words, or None"""
        kept = {}
        for place in PLACES:
            self._keep(place, self._files, kept)
        if kept != self._files:
            return "what loading left in %s" % " or ".join(PLACES)
        return None if self._look() == self._state else "processes, bounds or memory that all calls of its sandbox share"

    def _keep(self, place, known, found):
        """Notes what is below a folder, and removes what is not `known`."""
        try:
            entries = list(os.scandir(place))
        except OSError:
            return
        for entry in entries:
            if known is not None and entry.path not in known:
                _remove(entry.path)
                continue
            is_folder = entry.is_dir(follow_symlinks=False)
            status = entry.stat(follow_symlinks=False)
            # A folder changes by what is added to it, and that is taken away again.
            found[entry.path] = status.st_ino, status.st_mode, 0 if is_folder else status.st_ctime_ns
            if is_folder:
                self._keep(entry.path, known, found)

    def _look(self):
        """What System V keeps for all; bounds, niceness, processors and scheduling of the processes that stay; which these are. The
        first process of the sandbox sleeps: of it all that could be written to is compared."""
        texts = [_text(place) for place in SYSTEM_V]
        texts.append(_processes() if self._is_quiet else None)
        texts.append(_first_process(self._first))
        for pid in self._pids:
            texts.append(_text("/proc/%d/limits" % pid))
            texts.append((os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid), os.sched_getscheduler(pid)))
        return texts


def _processes():
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def _regions():
    """Where the first process of the sandbox has memory that it may write to itself."""
    places = []
    for line in (_text("/proc/1/maps") or b"").decode().splitlines():
        place, rights = line.split()[:2]
        if rights.startswith("rw"):
            start, end = (int(one, 16) for one in place.split("-"))
            places.append((start, end - start))
    return places


def _first_process(regions):
    """Its threads, its memory, and how much of that is its own: what is written to code becomes that. None where it cannot be looked at, nor written to."""
    try:
        memory = os.open("/proc/1/mem", os.O_RDONLY)
    except OSError:
        return None
    try:
        held = [os.pread(memory, size, start) for start, size in regions]
        own = {line.split()[0]: int(line.split()[1]) for line in (_text("/proc/1/status") or b"").splitlines() if line.startswith((b"RssAnon", b"VmSwap", b"Threads"))}
        # What the host takes out of memory for a while is the same.
        return held, own.get(b"Threads:"), own.get(b"RssAnon:", 0) + own.get(b"VmSwap:", 0), _text("/proc/1/maps")
    finally:
        os.close(memory)


def _text(path):
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.read(file, PIECE)
    finally:
        os.close(file)


def _prctl(option, value):
    arguments = option, value, 0, 0, 0
    try:
        # What `ctypes` is made of; itself it takes some milliseconds and a fifth of a megabyte.
        import _ctypes

        function = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
        answer = _ctypes.call_function(function, arguments)
    except (ImportError, AttributeError):
        import ctypes

        answer = ctypes.CDLL(None).prctl(*arguments)
    if answer != 0:
        raise OSError("the kernel does not keep the processes of calls apart: prctl %d" % option)


def exit_error(call, reason, logs):
    """What the caller gets of a call whose process ended without an answer; the log says it too."""
    message = "RequestId: %s Error: %s" % (call.request_id, reason)
    logs.write("%s\nRuntime.ExitError\n" % message)
    return {"errorType": "Runtime.ExitError", "errorMessage": message}


def _write_out(text):
    try:
        os.write(2, text.encode())
    except OSError:
        pass  # it was closed by what was loaded


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
