"""A thread of the runtime's own beside the one that runs user code: it reads what is written to the outputs, carries the
relay, and ends the process when the host is gone, whatever the code does."""
import os
from _thread import start_new_thread
from select import EPOLLIN, EPOLLRDHUP, epoll


class Pump:
    def __init__(self, wire):
        self._wire = wire
        self._poll = epoll()
        self._work = {}
        #: What must not outlive this process.
        self.children = set()
        self.watch(3, EPOLLRDHUP, lambda _: self.leave())

    def watch(self, descriptor, events, work):
        self._work[descriptor] = work
        self._poll.register(descriptor, events)

    def change(self, descriptor, events):
        self._poll.modify(descriptor, events)

    def forget(self, descriptor):
        if self._work.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def read_outputs(self):
        for descriptor, _ in self._wire.outputs:
            self.watch(descriptor, EPOLLIN, lambda _: self._wire.drain())

    def leave_outputs(self):
        for descriptor, _ in self._wire.outputs:
            self.forget(descriptor)

    def start(self):
        start_new_thread(self._run, ())

    def leave(self):
        for pid in tuple(self.children):
            try:
                os.kill(pid, 9)
            except OSError:
                pass
        self._wire.leave()

    def close(self):
        """In a process that was forked, to whom none of it belongs."""
        self._poll.close()

    def _run(self):
        work, poll = self._work, self._poll.poll
        try:
            while True:
                for descriptor, events in poll():
                    do = work.get(descriptor)
                    if do is not None:
                        do(events)
        finally:
            # A runtime that does not hear the host any more would outlive it.
            self.leave()
