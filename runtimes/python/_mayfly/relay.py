"""Descriptor 4: connections of user code to the platform's ports become streams. All of it runs in the pump's thread."""
import os
from _socket import AF_INET, SO_ERROR, SO_LINGER, SO_REUSEADDR, SHUT_WR, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, socket
from _struct import pack
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT

from . import frames as f

#: So much may wait for the host before connections are read no further.
ROOM = 256 * 1024


class Connection:
    def __init__(self, number, wire):
        self.number = number
        self.socket = wire
        self.credit = f.STREAM_WINDOW
        self.pending = bytearray()
        self.asked = 0
        #: Directions: what the code sends, what it gets.
        self.sent_all = False
        self.ends = False
        self.ended = False
        #: The host knows it no more: what came before is brought to its end.
        self.left = False


class Relay:
    def __init__(self, pump):
        os.set_blocking(4, False)
        os.set_inheritable(4, False)
        self.port = 0
        self._pump = pump
        self._socket = socket(fileno=4)
        self._socket.settimeout(0)
        self._held = b""
        self._out = bytearray()
        self._is_full = False
        self._connections = {}
        self._listeners = []
        self._next = 1
        #: Connections that have something to send while there is no room.
        self._stalled = set()
        pump.watch(4, EPOLLIN, self._on_host)

    def listen(self, port):
        """@returns the port, or 0 where it is taken: without isolation by the node itself, and then it leads there anyway."""
        listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK)
        listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(511)
        except OSError:
            listener.close()
            return 0
        self._listeners.append(listener)
        self._pump.watch(listener.fileno(), EPOLLIN, lambda _: self._accept(listener))
        return listener.getsockname()[1]

    def open(self, port):
        self.port = self.listen(port) or self.listen(0)

    def close(self):
        """Another process goes on with the descriptor and the ports."""
        for listener in self._listeners:
            self._pump.forget(listener.fileno())
            listener.close()
        self._pump.forget(4)

    def close_in_child(self):
        for listener in self._listeners:
            os.close(listener.detach())
        os.close(self._socket.detach())

    def _accept(self, listener):
        try:
            descriptor, _ = listener._accept()
        except OSError:
            return
        wire = socket(fileno=descriptor)
        wire.settimeout(0)
        one = Connection(self._next, wire)
        self._next += 1
        self._connections[one.number] = one
        self._say(f.OPEN, 0, one)
        self._arm(one)

    # ── the connection's side ──

    def _arm(self, one):
        """Asks for what can be done. Where that is nothing it is not watched: its end would be told without end."""
        wants = EPOLLOUT if one.pending else 0
        if not one.sent_all and not one.left:
            if len(self._out) > ROOM:
                self._stalled.add(one)
            elif one.credit > 0:
                wants |= EPOLLIN
        if wants == one.asked:
            return
        if one.asked == 0:
            self._pump.watch(one.socket.fileno(), wants, lambda events: self._on_connection(one, events))
        elif wants == 0:
            self._pump.forget(one.socket.fileno())
        else:
            self._pump.change(one.socket.fileno(), wants)
        one.asked = wants

    def _on_connection(self, one, events):
        if events & EPOLLERR and one.socket.getsockopt(SOL_SOCKET, SO_ERROR) != 0:
            return self._broke(one)
        if events & (EPOLLIN | EPOLLHUP) and not one.sent_all and not one.left and one.credit > 0:
            try:
                data = one.socket.recv(min(f.MAX, one.credit))
            except BlockingIOError:
                data = None
            except OSError:
                return self._broke(one)
            if data:
                one.credit -= len(data)
                self._say(f.DATA, 0, one, data)
            elif data is not None:
                one.sent_all = True
                self._say(f.END, f.FIN, one)
        if one.pending:
            self._deliver(one)
        self._settle(one)

    def _deliver(self, one):
        try:
            sent = one.socket.send(one.pending)
        except BlockingIOError:
            return
        except OSError:
            one.pending.clear()
            return self._broke(one)
        del one.pending[:sent]
        if not one.left:
            self._say(f.CREDIT, 0, one, f.U32.pack(sent))

    def _settle(self, one):
        if one.number < 0:
            return
        if one.ends and not one.ended and not one.pending:
            one.ended = True
            try:
                one.socket.shutdown(SHUT_WR)
            except OSError:
                return self._broke(one)
        if one.ended and (one.sent_all or one.left):
            return self._close(one, not one.left)
        self._arm(one)

    def _broke(self, one):
        if one.number >= 0:
            self._close(one, not one.left)

    def _close(self, one, tell):
        if one.asked:
            self._pump.forget(one.socket.fileno())
        one.socket.close()
        self._stalled.discard(one)
        if tell:
            self._connections.pop(one.number, None)
            self._say(f.RESET, 0, one)
        one.number = -1

    # ── the host's side ──

    def _say(self, kind, flags, one, payload=b""):
        was = len(self._out)
        self._out += f.frame(kind, flags, one.number, payload)
        if was == 0:
            self._flush()

    def _flush(self):
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._pump.leave()
        if self._is_full != bool(self._out):
            self._is_full = not self._is_full
            self._pump.change(4, EPOLLIN | EPOLLOUT if self._is_full else EPOLLIN)
        if self._stalled and len(self._out) <= ROOM:
            stalled, self._stalled = self._stalled, set()
            for one in stalled:
                self._arm(one)

    def _on_host(self, events):
        if events & EPOLLOUT:
            self._flush()
        if not events & ~EPOLLOUT:
            return
        try:
            chunk = self._socket.recv(f.MAX)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._pump.leave()
        frames, self._held = f.split(self._held, chunk)
        for kind, _, number, payload in frames:
            one = self._connections.get(number)
            if one is not None:
                self._take(one, kind, payload)

    def _take(self, one, kind, payload):
        if kind == f.DATA:
            one.pending += payload
            self._deliver(one)
        elif kind == f.END:
            one.ends = True
        elif kind == f.CREDIT:
            one.credit += f.U32.unpack(payload)[0]
        elif kind == f.RESET:
            del self._connections[one.number]
            one.left = True
            # What broke off must not look whole.
            if not one.ends:
                one.socket.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
                return self._close(one, False)
        self._settle(one)
