"""Where the process that waited cannot be the one that runs the code: for what a process takes from its environment only when
it starts, for a program that starts the runtime (AWS_LAMBDA_EXEC_WRAPPER), for extensions beside it. Another goes on with the
descriptors."""
import json
import os
import sys
from _socket import AF_UNIX, SOCK_STREAM, socket, socketpair

from .handlers import Fault, opt_of, payload_of

#: Says to a process that it goes on: a descriptor by which comes what it must know, and the ends of the pipes of its outputs.
MARK = "_MAYFLY_HANDED_OVER"
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SUPERVISOR = os.path.join(os.path.dirname(HERE), "supervisor", "main.mjs")
#: It shares the function's memory: it takes little, and gives back what it took.
SUPERVISOR_FLAGS = ("--v8-pool-size=1", "--disable-warning=ExperimentalWarning", "--max-semi-space-size=1", "--max-old-space-size=96", "--expose-gc")
BOOTSTRAP = [sys.executable, "-usB", os.path.join(HERE, "bootstrap.py")]
#: Read by the loader, the C library or the interpreter before its first line; of these PYTHONPATH can be taken later.
AT_START = ("LD_", "GLIBC_", "MALLOC_", "PYTHON")
TAKEN_LATER = "PYTHONPATH"
REASONS = {"FileNotFoundError": "no such file or directory", "PermissionError": "permission denied"}


def _at_start(environment):
    return {name: value for name, value in environment.items() if name.startswith(AT_START) and name != TAKEN_LATER}


def is_needed(environment):
    """Whether this process cannot become what `environment` asks for; asked before it takes it."""
    return bool(environment.get("AWS_LAMBDA_EXEC_WRAPPER")) or _at_start(environment) != _at_start(os.environ)


def has_extensions(code_path):
    folder = os.path.join(opt_of(code_path), "extensions")
    try:
        return any(os.access(one.path, os.X_OK) and one.is_file() for one in os.scandir(folder))
    except OSError:
        return False


def outputs():
    """The ends of the pipes of this process's outputs, where it goes on for another; else None."""
    mark = os.environ.get(MARK)
    return None if mark is None else [int(end) for end in mark.split(",")[1:]]


def taken_over():
    """What the process before this one knew, or None where there was none. The environment is what a wrapper made of it."""
    mark = os.environ.pop(MARK, None)
    if mark is None:
        return None
    hand = socket(AF_UNIX, SOCK_STREAM, fileno=int(mark.split(",")[0]))
    hand.sendall(b".")
    return json.loads(_all_of(hand))


def _all_of(hand):
    pieces = []
    while True:
        piece = hand.recv(64 * 1024)
        if not piece:
            hand.close()
            return b"".join(pieces)
        pieces.append(piece)


def to_another(guest, environment):
    """Has another of this program go on, started by the function's own where there is one, and stays to tell how that ends."""
    wire, wrapper = guest.wire, environment.get("AWS_LAMBDA_EXEC_WRAPPER")
    command = [wrapper, *BOOTSTRAP] if wrapper else BOOTSTRAP
    hand, given = socketpair()
    ends = [end for end, _ in wire.outputs]
    inherited = [3, 4, given.fileno(), *ends]
    mark = ",".join(str(one) for one in (given.fileno(), *ends))
    guest.relay.close()
    for one in inherited:
        os.set_inheritable(one, True)
    try:
        child = os.posix_spawn(command[0], command, {**environment, MARK: mark})
    except OSError as error:
        reason = REASONS.get(type(error).__name__) or (error.strerror or str(error)).lower()
        return guest.fail_to_load(payload_of(Fault("Runtime.InvalidEntrypoint", "Error: fork/exec %s: %s" % (command[0], reason)), ""))
    finally:
        for one in inherited:
            os.set_inheritable(one, False)
        given.close()
    guest.pump.children.add(child)
    started = hand.recv(1) != b""
    if started:
        guest.pump.leave_outputs()
        fields = {**guest.version, "environment": {}}
        with wire.lock:
            wire.drain()
            wire.tell_lost()
            state = {"fields": fields, "port": guest.relay.port, "wire": wire.state()}
            # From here on descriptor 3 is the other's to write to.
            wire.muted = True
        hand.sendall(json.dumps(state).encode())
    hand.close()
    _, status = os.waitpid(child, 0)
    if not started:
        return guest.end(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    guest.leave_at_once(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def to_supervisor(guest, relay_port, api_port, node):
    """Becomes the supervisor, which serves extensions, and the Runtime API to a runtime that it starts."""
    wire = guest.wire
    wire.drain()
    wire.tell_lost()
    state = json.dumps({"fields": guest.version, "port": guest.relay.port, **wire.state()}).encode()
    hand = os.memfd_create("state")
    while state:
        state = state[os.write(hand, state) :]
    os.lseek(hand, 0, os.SEEK_SET)
    guest.give_back_outputs()
    for one in (3, 4, hand):
        os.set_inheritable(one, True)
    command = [node, *SUPERVISOR_FLAGS, SUPERVISOR, "python3.x", str(relay_port), str(api_port), *BOOTSTRAP]
    os.execve(node, command, {**guest.first_environment, MARK: str(hand)})
