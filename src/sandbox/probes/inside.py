# Runs inside a sandbox: tries each door and says whether it was open. Reads {"facts", "probes"} from its input and
# writes {name: [open, what was seen]}. Doors are opened and closed again: the same probes run without any isolation
# to show that they can fail, so none of them may change what is not its own. A call that reaches the kernel and is
# refused only for the form of its arguments counts as open.
import ctypes
import errno
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time

LIMIT_S = 4
X64 = os.uname().machine == 'x86_64'
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
facts = {}

# The numbers on x64 and arm64. None: not there.
NUMBERS = {
    'ptrace': (101, 117), 'process_vm_readv': (310, 270), 'process_vm_writev': (311, 271), 'kcmp': (312, 272),
    'pidfd_send_signal': (424, 424), 'pidfd_open': (434, 434), 'pidfd_getfd': (438, 438), 'process_madvise': (440, 440),
    'process_mrelease': (448, 448), 'keyctl': (250, 219), 'add_key': (248, 217), 'request_key': (249, 218),
    'bpf': (321, 280), 'perf_event_open': (298, 241), 'userfaultfd': (323, 282), 'io_uring_setup': (425, 425),
    'io_uring_enter': (426, 426), 'io_uring_register': (427, 427), 'io_setup': (206, 0), 'kexec_load': (246, 104),
    'kexec_file_load': (320, 294), 'init_module': (175, 105), 'finit_module': (313, 273), 'delete_module': (176, 106),
    'swapon': (167, 224), 'swapoff': (168, 225), 'reboot': (169, 142), 'settimeofday': (164, 170), 'clock_settime': (227, 112),
    'adjtimex': (159, 171), 'clock_adjtime': (305, 266), 'sethostname': (170, 161), 'setdomainname': (171, 162),
    'quotactl': (179, 60), 'quotactl_fd': (443, 443), 'acct': (163, 89), 'iopl': (172, None), 'ioperm': (173, None),
    'modify_ldt': (154, None), 'personality': (135, 92), 'open_by_handle_at': (304, 265), 'name_to_handle_at': (303, 264),
    'fanotify_init': (300, 262), 'memfd_secret': (447, 447), 'landlock_create_ruleset': (444, 444), 'seccomp': (317, 277),
    'capset': (126, 91), 'mount': (165, 40), 'umount2': (166, 39), 'pivot_root': (155, 41), 'chroot': (161, 51),
    'setns': (308, 268), 'unshare': (272, 97), 'clone': (56, 220), 'clone3': (435, 435), 'fsopen': (430, 430),
    'fsconfig': (431, 431), 'fsmount': (432, 432), 'fspick': (433, 433), 'open_tree': (428, 428), 'move_mount': (429, 429),
    'mount_setattr': (442, 442), 'statmount': (457, 457), 'listmount': (458, 458), 'syslog': (103, 116),
    'lookup_dcookie': (212, 18), 'vhangup': (153, 58), 'uselib': (134, None), 'move_pages': (279, 239),
    'migrate_pages': (256, 238), 'set_mempolicy': (238, 237), 'remap_file_pages': (216, 234), 'ioprio_set': (251, 30),
    'mq_open': (240, 180), 'sysfs': (139, None), 'lsm_get_self_attr': (459, 459), 'setrlimit': (160, 164),
    'sched_setscheduler': (144, 119), 'sync': (162, 81), 'syncfs': (306, 267), 'prlimit64': (302, 261), 'sched_setattr': (314, 274),
}
REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EROFS, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT}
NEW = {'time': 0x80, 'mnt': 0x20000, 'cgroup': 0x2000000, 'uts': 0x4000000, 'ipc': 0x8000000, 'user': 0x10000000, 'pid': 0x20000000, 'net': 0x40000000}


def name_of(number):
    return errno.errorcode.get(number, str(number))


def raw(number, *args):
    ctypes.set_errno(0)
    return libc.syscall(ctypes.c_long(number), *[arg if isinstance(arg, (bytes, ctypes.Array)) else ctypes.c_long(arg) for arg in args])


def call(name, *args):
    number = NUMBERS[name][0 if X64 else 1]
    if number is None:
        return None
    answer = raw(number, *args)
    if answer >= 0:
        return True, 'answers'
    return ctypes.get_errno() not in REFUSED, name_of(ctypes.get_errno())


def check(answer):
    if answer != 0:
        raise OSError(ctypes.get_errno(), '')


def attempt(work):
    try:
        seen = work()
        return True, 'yes' if seen is None else str(seen)
    except OSError as error:
        return False, name_of(error.errno)


def reads(path):
    def work():
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if os.path.isdir(path):
                return len(os.listdir(path))
            try:
                return len(os.read(handle, 1))
            except BlockingIOError:
                return 1
        finally:
            os.close(handle)
    is_open, seen = attempt(work)
    # What is masked opens as an empty file or folder.
    return (False, 'empty') if is_open and seen == '0' else (is_open, seen if not is_open else 'readable')


def first(*results):
    """Open if one of them is."""
    return next((result for result in results if result and result[0]), results[-1])


def opens_for_writing(path):
    return attempt(lambda: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)))


def may_write(path):
    """Asks, and writes nothing."""
    if libc.access(path.encode(), os.W_OK) == 0:
        return True, 'writable'
    return False, name_of(ctypes.get_errno()) if ctypes.get_errno() else 'no'


def content(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ''


def tells(path, secret):
    return (True, 'told') if secret and secret in content(path) else (False, 'not there')


def listed(items):
    items = list(items)
    return (len(items) > 0, ' '.join(str(item) for item in items) or 'none')


def clone(kind):
    number = NUMBERS['clone'][0 if X64 else 1]
    pid = raw(number, NEW[kind] | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    if pid < 0:
        return False, name_of(ctypes.get_errno())
    os.waitpid(pid, 0)
    return True, 'made'


def enters(kind):
    try:
        handle = os.open('/proc/1/ns/' + kind, os.O_RDONLY)
    except OSError:
        handle = -1
    return call('setns', handle, 0)


def host_namespace(kind):
    try:
        return os.readlink('/proc/self/ns/' + kind) == facts['namespaces'][kind], os.readlink('/proc/self/ns/' + kind)
    except (OSError, KeyError):
        return False, 'no such'


def opens_socket(family, kind, protocol=0):
    return attempt(lambda: socket.socket(family, kind, protocol).close())


def families(*usual):
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_RAW)
    return listed(family for family in range(1, 46) if family not in usual and any(opens_socket(family, kind)[0] for kind in kinds))


def protocols(family, kind, *usual):
    return listed(protocol for protocol in range(0, 263) if protocol not in usual and opens_socket(family, kind, protocol)[0])


def connects(family, address):
    def work():
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.settimeout(1.5)
            one.connect(address)
    try:
        return attempt(work)
    except TimeoutError:
        return False, 'timeout'


def to_hosts(hosts, port, family=socket.AF_INET):
    """All at once: what a network drops is not told."""
    waiting, tried, seen = select.poll(), {}, 'no address'
    for host in hosts:
        one = socket.socket(family, socket.SOCK_STREAM)
        one.setblocking(False)
        error = one.connect_ex((host, port))
        if error == 0:
            return True, host
        if error != errno.EINPROGRESS:
            seen = name_of(error)
            continue
        tried[one.fileno()] = (one, host)
        waiting.register(one, select.POLLOUT)
    end = time.monotonic() + 1.2
    while tried and (left := end - time.monotonic()) > 0:
        for number, _ in waiting.poll(left * 1000):
            one, host = tried.pop(number)
            waiting.unregister(number)
            error = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error == 0:
                return True, host
            seen = name_of(error)
    return False, 'dropped' if tried else seen


def gateways():
    rows = [line.split() for line in content('/proc/net/route').split('\n')[1:] if line]
    return [socket.inet_ntoa(struct.pack('=I', int(row[2], 16))) for row in rows if row[2] != '00000000']


def signals(pid):
    return attempt(lambda: os.kill(pid, 0))


def maps_zero():
    libc.mmap.restype = ctypes.c_void_p
    fixed = 0x10
    at = libc.mmap(ctypes.c_void_p(0), ctypes.c_size_t(4096), 1, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | fixed, -1, ctypes.c_long(0))
    return (True, 'mapped') if at is None else (False, name_of(ctypes.get_errno()))


def machine_code(code):
    if not X64:
        return None
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    answer = run()
    return answer >= 0, 'answers' if answer >= 0 else name_of(-answer)


def strange_descriptors(pid):
    """What a process was given beyond pipes, sockets and its own files."""
    known = ('pipe:', 'socket:', 'anon_inode:', '/dev/null', '/dev/urandom', '/dev/random', '/var/task', '/fn', '/memfd:', '/proc/%d' % pid, '/var/runtime')
    seen = []
    for number in os.listdir('/proc/%d/fd' % pid):
        try:
            at = os.readlink('/proc/%d/fd/%s' % (pid, number))
        except OSError:
            continue
        if not at.startswith(known):
            seen.append(at)
    return listed(seen)


def inherited():
    return listed(number for number in os.listdir('/proc/self/fd') if int(number) > 2 and os.path.exists('/proc/self/fd/' + number)
                  and not os.readlink('/proc/self/fd/' + number).startswith(('/proc/', 'pipe:[%s' % facts['own_pipe'])))


def becomes(uid):
    def work():
        os.setresuid(uid, uid, uid)
    return attempt(work)


def by_program(*command):
    """What a program with more rights on the disk makes of us: the user that it runs as."""
    import subprocess
    try:
        out = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=3).stdout.decode().strip()
    except (OSError, subprocess.SubprocessError) as error:
        return False, type(error).__name__
    return out == '0', out or 'refused'


def writes_own(path, text):
    """Into a file of this process alone, which ends here."""
    def work():
        handle = os.open(path, os.O_WRONLY)
        os.write(handle, text)
    return attempt(work)


def changes(path):
    """Whether a file could be replaced, given a second name, other rights or another owner: each change is none."""
    def link():
        os.link(path, path + '.second')
        os.unlink(path + '.second')
    status = os.stat(path)
    tries = {
        'write': lambda: os.close(os.open(path, os.O_WRONLY)),
        'rename': lambda: os.rename(path, path),
        'link': link,
        'chmod': lambda: os.chmod(path, status.st_mode & 0o7777),
        'chown': lambda: os.chown(path, status.st_uid, status.st_gid),
        'truncate': lambda: os.truncate(path, status.st_size),
        'utime': lambda: os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns)),
    }
    return listed(name for name, work in tries.items() if attempt(work)[0])


def links_out(path):
    """A second name for a file of the code where user code may write."""
    at = '/tmp/second-%d' % os.getpid()
    def work():
        os.link(path, at)
        os.unlink(at)
    return attempt(work)


def until_refused(make, most):
    made = []
    try:
        while len(made) < most:
            made.append(make())
    except OSError as error:
        return len(made), name_of(error.errno)
    finally:
        for one in made:
            os.close(one)
    return most, 'no end'


def locks(size):
    page = mmap.mmap(-1, size)
    return attempt(lambda: check(libc.mlock(ctypes.byref(ctypes.c_char.from_buffer(page)), ctypes.c_size_t(size))))


def sees_processes(most):
    count = sum(name.isdigit() for name in os.listdir('/proc'))
    return count > most, str(count)


def group_paths():
    paths = [line for line in content('/proc/self/cgroup').split('\n') if line and not line.endswith(':/')]
    return listed(paths)


def inotify(most):
    def make():
        handle = libc.inotify_init()
        if handle < 0:
            raise OSError(ctypes.get_errno(), '')
        return handle
    made, why = until_refused(make, most)
    return made >= most, '%d, %s' % (made, why)


def value(work):
    try:
        return work()
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def memory_total():
    return int(content('/proc/meminfo').split('MemTotal:')[1].split()[0]) * 1024


def sysinfo_total():
    buffer = ctypes.create_string_buffer(256)
    libc.sysinfo(buffer)
    return struct.unpack_from('=qQQQQ', buffer)[4]


def is_fact(name, seen):
    return (seen is not None and seen == facts[name]), str(seen)


def run(expression):
    """In a process of its own, which a probe may end or change as it likes."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            facts['own_pipe'] = os.readlink('/proc/self/fd/%d' % writer)[6:-1]
            seen = eval(expression, globals())
        except Exception as error:
            seen = (False, '%s: %s' % (type(error).__name__, error))
        os.write(writer, json.dumps(seen).encode()[:4000])
        os._exit(0)
    os.close(writer)
    waiting = select.poll()
    waiting.register(reader, select.POLLIN)
    ready = waiting.poll(LIMIT_S * 1000)
    answer = os.read(reader, 65536) if ready else b''
    os.close(reader)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if answer:
        return json.loads(answer)
    return [False, 'no answer' if not ready else signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else 'ended']


def main():
    asked = json.load(sys.stdin)
    facts.update(asked['facts'])
    print(json.dumps({name: run(expression) for name, expression in asked['probes'].items()}))


main()
