"""The frames of runtimes/PROTOCOL.md: their form, and how a sandbox's credit is counted."""
from _struct import Struct

MAX = 64 * 1024
STREAM_WINDOW = 256 * 1024
SANDBOX_WINDOW = 4 * 1024 * 1024
LOG_WINDOW = 1024 * 1024
HEAD = Struct("<IBBHI")
U32 = Struct("<I")

HELLO, LOADED, LOAD_ERROR, RESULT, DATA, END, CALL_ERROR, SAYS_DONE = 1, 2, 3, 4, 6, 7, 8, 9
CREDIT, LOG, LOG_LOST, WARMED, EXITING, OPEN, RESET = 10, 11, 12, 13, 14, 20, 21
WARM, SPECIALISE, CALL, CANCEL = 30, 31, 32, 33
FIN, DONE, STDOUT, STDERR = 1, 2, 4, 8


def frame(kind, flags, stream, payload=b""):
    return HEAD.pack(len(payload), kind, flags, 0, stream) + payload


def split(held, chunk):
    """Whole frames `(kind, flags, stream, payload)` of what has come, and the beginning of the next one."""
    data = held + chunk if held else chunk
    at, frames = 0, []
    while len(data) - at >= HEAD.size:
        length, kind, flags, _, stream = HEAD.unpack_from(data, at)
        end = at + HEAD.size + length
        if len(data) < end:
            break
        frames.append((kind, flags, stream, data[at + HEAD.size : end]))
        at = end
    return frames, data[at:]
