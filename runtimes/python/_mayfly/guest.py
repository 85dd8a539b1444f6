"""The runtime in a sandbox: waits booted, becomes a function, runs its calls. User code shares this process."""
import json
import os
import sys
import time

from . import frames as f
from . import handing
from .handlers import Call, load, look_in, payload_of, perform, show_trace
from .logs import Logs, open_output
from .pump import Pump
from .relay import Relay
from .wire import Wire, fitting, leave_at_once

NAME = "python3.x"


class Guest:
    def __init__(self, relay_port, api_port, node):
        self.first_environment = dict(os.environ)
        self.leave_at_once = leave_at_once
        self._beside = (relay_port, api_port, node)
        self.wire = Wire()
        self.pump = Pump(self.wire)
        self.relay = Relay(self.pump)
        self.version = None
        self.handler = None
        self.logs = None
        self.forking = None
        self._pid = os.getpid()
        self._left = False
        self._parts = []
        self._further = []
        self._outputs = []
        self._capture()
        os._exit = self._exit
        os.register_at_fork(after_in_child=self._leave)
        handed = handing.taken_over()
        self.relay.open(relay_port if handed is None else handed["port"])
        self.pump.start()
        if handed is None:
            said = {"version": 1, "runtime": NAME, "node": "", "relayPort": self.relay.port, "features": ["relay"]}
            self.wire.send(f.HELLO, 0, 0, json.dumps(said).encode())
        else:
            self.wire.resume(handed["wire"])
            self.version = handed["fields"]
            self._listen_too()
            self._prepare(dict(os.environ))
            self._load()

    def _capture(self):
        """What is written to descriptors 1 and 2, by whomever, comes back by pipes; the language's own streams go past them."""
        flags = (f.STDOUT, f.STDERR)
        ends = handing.outputs()
        self._given = None
        if ends is None:
            ends, self._given = [], os.dup(2)
            for descriptor in (1, 2):
                read, write = os.pipe()
                os.dup2(write, descriptor)
                os.close(write)
                ends.append(read)
        for end in ends:
            os.set_blocking(end, False)
            os.set_inheritable(end, False)
        self.wire.listen_to(list(zip(ends, flags)))
        self.pump.read_outputs()
        log = self.wire.log
        out, sys.stdout = open_output(1, "<stdout>", "surrogateescape", lambda data: log(f.STDOUT, data))
        err, sys.stderr = open_output(2, "<stderr>", "backslashreplace", lambda data: log(f.STDERR, data))
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
        self._outputs = [out, err]

    def give_back_outputs(self):
        """For a program that takes the place of this one: they are as they were at its start."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.dup2(nowhere if self._given is None else self._given, 2)

    # ── becoming a function ──

    def _announced(self, flags, payload):
        if self.version is None:
            self._parts.append(payload)
            if not flags & (f.DONE | f.FIN):
                return
            self.version = json.loads(b"".join(self._parts))
            self._parts.clear()
            self._listen_too()
            origin = "http://127.0.0.1:%d" % self.relay.port
            given = self.version["environment"].items()
            self.version["environment"] = {name: str(value).replace("{relay}", origin) for name, value in given}
            self._goes_on = handing.is_needed(self.version["environment"])
            if not self._goes_on:
                self._prepare(self._whole_environment())
        if not flags & f.FIN:
            return
        if handing.has_extensions(self.version["codePath"]):
            handing.to_supervisor(self, *self._beside)
        elif self._goes_on:
            environment = self._whole_environment()
            os.chdir(environment["PWD"])
            handing.to_another(self, environment)
        else:
            self._load()

    def _listen_too(self):
        for port in self.version["relayPorts"]:
            if port != self.relay.port:
                self.relay.listen(port)

    def _whole_environment(self):
        # What the function itself names is the function's.
        given = {"_HANDLER": self.version["handler"], **self.version["environment"]}
        return {**given, "PWD": given.get("LAMBDA_TASK_ROOT", self.version["codePath"])}

    def _prepare(self, environment):
        """What can be done before the code is there: takes what a process otherwise has from its start."""
        before = os.environ.get("PYTHONPATH")
        root = environment.get("LAMBDA_TASK_ROOT", self.version["codePath"])
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        given = os.environ.get("PYTHONPATH")
        self._further = [] if given in (None, "", before) else given.split(os.pathsep)
        self._forks = os.environ.pop("_MAYFLY_FORKS", None) is not None
        if self._forks:
            from . import forking  # only here: few functions fork

            self._forking = forking
        self._root = root
        self.logs = Logs()

    def _load(self):
        os.chdir(self._root)
        sys.argv = sys.argv[:1]
        look_in(self._root, self._further)
        try:
            self.handler = load(self.version["handler"])
        except Exception as error:
            told = payload_of(error, "")
            self.logs.error(told)
            return self.fail_to_load(told)
        if self._forks:
            # Beside the host's other programs, in the driver that keeps nothing apart, /tmp is not its own.
            self.forking = self._forking.Forking(self._perform, self._root == "/var/task", self.pump.children, self.end)
        self._said_while_loading()
        self.wire.send(f.LOADED, 0, 0, b'{"kind":"lambda"}')
        if self._forks:
            self.forking.make_ready()

    def fail_to_load(self, told):
        self._said_while_loading()
        self.wire.send(f.LOAD_ERROR, 0, 0, fitting(told))

    def _said_while_loading(self):
        self.wire.drain()
        self.wire.tell_lost()

    # ── calls ──

    def _event(self, stream, flags, payload):
        """One call from its head to its last frame."""
        size = f.U32.unpack_from(payload)[0]
        head = json.loads(payload[4 : 4 + size])
        body = payload[4 + size :]
        deadline = int(time.time() * 1000 + head["remainingMs"])
        self.wire.begin(stream)
        if not flags & f.FIN:
            body = self._rest(stream, body)
        context = head["context"]
        arn = context.get("invokedArn") or self.version["context"]["functionArn"]
        call = Call(context["invocationId"], arn, context["traceId"], context["clientContext"], deadline)
        if self.forking is None:
            result, error = self._perform(call, body)
            if self.is_forked:
                leave_at_once(0 if error is None else 1)  # the code forked it, and did not end it
            return self.wire.result(result) if error is None else self.wire.error(error)
        reason = self.forking.run(call, body, self._told)
        if reason is None:
            self.wire.done()
        else:
            self.wire.error(self._forking.exit_error(call, reason, self.logs))

    def _perform(self, call, body):
        return perform(self.handler, call, body, self.logs)

    def _told(self, result, error):
        # What a call wrote stands before its answer.
        self.wire.drain()
        if error is None:
            self.wire.result(result, 0)
        else:
            self.wire.error(error, 0)

    def _rest(self, stream, first):
        pieces = [first]
        while True:
            kind, _, number, payload = self.wire.next()
            if number != stream:
                continue
            if kind == f.END:
                return b"".join(pieces)
            if kind == f.DATA:
                pieces.append(payload)
                self.wire.send(f.CREDIT, 0, stream, f.U32.pack(len(payload)))

    def warm(self, rounds):
        """Dummy calls through the code of real ones, so that the first real one finds it hot."""
        kept, self.version = self.version, {"context": {"functionArn": "w"}}
        before = os.environ.get("_X_AMZN_TRACE_ID")
        self.logs, self.handler = _Silent(), lambda event, context: {"statusCode": 200, "body": event}
        head = {"remainingMs": 1000, "context": {"invocationId": "w", "traceId": "w", "clientContext": None, "invokedArn": "w"}}
        head = json.dumps(head).encode()
        call = f.U32.pack(len(head)) + head + b'{"a":[1,"b",{"c":null}]}'
        self.wire.muted = True
        try:
            for _ in range(rounds):
                self._event(1, f.FIN, call)
        finally:
            self.wire.muted = False
            self.version, self.handler, self.logs = kept, None, None
            if before is None:
                show_trace(None)
        self.wire.send(f.WARMED, 0, 0)

    def run(self):
        while True:
            kind, flags, stream, payload = self.wire.next()
            if kind == f.CALL:
                self._event(stream, flags, payload)
            elif kind == f.SPECIALISE:
                self._announced(flags, payload)
            elif kind == f.WARM:
                self.warm(json.loads(payload)["rounds"])
            elif kind == f.DATA:
                # For a call that is over: it is granted like what was taken.
                self.wire.send(f.CREDIT, 0, stream, f.U32.pack(len(payload)))

    # ── ends ──

    def _exit(self, code):
        """Stands for os._exit: the host hears of it."""
        self.end(code)

    def end(self, code, signal=0):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass  # the handler's own, or closed by it
        self.wire.farewell(code, signal)
        leave_at_once(code & 0xFF)

    def _leave(self):
        """In a process that user code forked, or a call's own: none of this is its to use."""
        if self._left:
            return
        self._left = True
        os._exit = leave_at_once
        for output in self._outputs:
            output.leave()
        self.pump.close()
        self.wire.close()
        self.relay.close_in_child()

    @property
    def is_forked(self):
        return os.getpid() != self._pid


class _Silent:
    request_id = None

    def write(self, text):
        pass

    def flush(self):
        pass

    def error(self, payload):
        pass


def run():
    relay_port, api_port, node = sys.argv[1:] or ("0", "0", "")
    guest = Guest(int(relay_port), int(api_port), node)
    code = 0
    try:
        guest.run()
    except SystemExit as left:
        code = 0 if left.code is None else left.code if isinstance(left.code, int) else 1
        if code == 1 and not isinstance(left.code, int):
            print(left.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    if guest.is_forked:
        sys.stdout.flush()
        leave_at_once(code & 0xFF)
    import atexit

    atexit._run_exitfuncs()
    guest.end(code)
