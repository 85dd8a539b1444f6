import type { DriverName } from '../types.ts'

/** What is tried from inside, by what it would lead to. */
export interface Probe {
  readonly name: string
  readonly about: string
  /** An expression of `inside.py` that gives whether the door is open. */
  readonly run: string
  /**
   * What a plain process of root sees, without any isolation: the proof that the probe can fail. `kernel`: depends on
   * how the host's kernel was built. `never`: must not be tried there, as it would take from the host.
   */
  readonly plain: 'open' | 'kernel' | 'shut' | 'never'
  /** Open in a sandbox, and why that may be; all else is shut. */
  readonly known?: string
}

/** Open under one driver, and why that may be. */
export const KNOWN_OF: Partial<Record<DriverName, Readonly<Record<string, string>>>> = {
  bwrap: {
    'namespaces: namespaces that the kernel would count': 'the bound is that of a namespace around it, which cannot be read inside',
    'the machine: how many watches it may set': 'the same',
  },
}

export const keyOf = ({ about, name }: Probe): string => `${about}: ${name}`

/** Whether it is said to be open under that driver. */
export const isKnown = (driver: DriverName, probe: Probe): boolean => probe.known !== undefined || KNOWN_OF[driver]?.[keyOf(probe)] !== undefined

const of = (about: string, rows: readonly (readonly [name: string, run: string, plain?: Probe['plain'], known?: string])[]): Probe[] =>
  rows.map(([name, run, plain, known]) => ({ name, about, run, plain: plain ?? 'open', ...(known === undefined ? {} : { known }) }))

const NAMESPACES = ['mnt', 'cgroup', 'uts', 'ipc', 'user', 'pid', 'net'] as const
const read = (path: string) => `reads('${path}')`
const write = (path: string) => `opens_for_writing('${path}')`

export const PROBES: readonly Probe[] = [
  ...of('files', [
    ['a file of the host', "reads(facts['secret'])"],
    ['the same by the root of the first process', "reads('/proc/1/root' + facts['secret'])", 'kernel'],
    ['the same by leaving its folder upwards', "reads('../' * 40 + facts['secret'][1:])"],
    ['the key of the node', "reads(facts['data'] + '/instance.key')"],
    ['passwords of the host', read('/etc/shadow')],
    ['the home of root', read('/root'), 'kernel'],
    ['what services of the host left in /run', read('/run')],
    ['sockets of container daemons', "first(reads('/var/run/docker.sock'), reads('/run/containerd'))", 'kernel'],
    ['keys of TLS servers', read('/etc/ssl/private'), 'kernel'],
    ['writing to /', "may_write('/')"],
    ['writing to /usr', "may_write('/usr')"],
    ['writing to /etc', "may_write('/etc')"],
    ['a file by its handle', "call('open_by_handle_at', -1, 0, 0)"],
    ['a handle of a file', "call('name_to_handle_at', -100, b'/', 0, 0, 0)"],
    ['watching a whole file system', "call('fanotify_init', 0, 0)"],
  ]),
  ...of('code', [
    ['changing the own code', "changes(facts['code'] + '/index.js')"],
    ['changing the own code by the slot', "first(changes('/fn/code/index.js'))", 'never'],
    ['a second name for a file of the code', "links_out(facts['code'] + '/index.js')", 'kernel'],
    ['adding to the own code', "may_write(facts['code'])"],
    ['adding layers', "may_write('/opt')"],
    ['the kept compile cache', "first(may_write('/fn/cache'), may_write('/fn'), may_write('/cache'))", 'never'],
    ['the runtime', "first(may_write('/var/runtime'), may_write('/var/runtime/node/bootstrap.mjs'))", 'never'],
    ['the program that runs it', "first(may_write('/proc/1/exe'), opens_for_writing('/proc/1/exe'))", 'kernel'],
  ]),
  ...of('/proc and /sys', [
    ['processes of the host', "reads('/proc/%d/environ' % facts['pid'])"],
    ['memory of a process of the host', "attempt(lambda: os.close(os.open('/proc/%d/mem' % facts['pid'], os.O_RDONLY)))"],
    ['the root of a process of the host', "reads('/proc/%d/root/' % facts['pid'])"],
    ['the magic key', write('/proc/sysrq-trigger'), 'kernel'],
    ['kernel memory', read('/proc/kcore'), 'kernel'],
    ['the kernel log', "first(reads('/proc/kmsg'), reads('/dev/kmsg'))"],
    ['addresses of the kernel', read('/proc/kallsyms'), 'kernel'],
    ['modules', read('/proc/modules'), 'kernel'],
    ['the boot line', read('/proc/cmdline')],
    ['timers', read('/proc/timer_list'), 'kernel'],
    ['scheduler', "first(reads('/proc/sched_debug'), reads('/sys/kernel/debug'))", 'kernel'],
    ['interrupts', read('/proc/interrupts')],
    ['disks', "first(reads('/proc/diskstats'), reads('/proc/partitions'))"],
    ['keys of all', read('/proc/keys'), 'kernel'],
    ['core dump pipe', write('/proc/sys/kernel/core_pattern')],
    ['host name by sysctl', write('/proc/sys/kernel/hostname')],
    ['the program that loads modules', write('/proc/sys/kernel/modprobe'), 'kernel'],
    ['memory policy', write('/proc/sys/vm/overcommit_memory')],
    ['network policy', write('/proc/sys/net/ipv4/ip_forward'), 'kernel'],
    ['devices in /sys', read('/sys/class'), 'kernel'],
    ['control groups', read('/sys/fs/cgroup'), 'kernel'],
    ['a release agent', write('/sys/fs/cgroup/release_agent'), 'shut'],
    ['being spared when memory is short', "writes_own('/proc/self/oom_score_adj', b'-500')", 'kernel'],
    ['own user map', "writes_own('/proc/self/uid_map', b'0 0 1')", 'shut'],
  ]),
  ...of('devices', [
    ['memory of the machine', "first(reads('/dev/mem'), opens_for_writing('/dev/mem'), reads('/dev/port'))", 'kernel'],
    ['disks', "first(*[reads('/dev/' + name) for name in ('vda', 'sda', 'nvme0n1', 'xvda', 'dm-0', 'loop0')])", 'kernel'],
    ['virtual machines', "attempt(lambda: os.close(os.open('/dev/kvm', os.O_RDWR)))", 'kernel'],
    ['file systems of users', write('/dev/fuse'), 'kernel'],
    ['tunnels', write('/dev/net/tun'), 'kernel'],
    ['loop devices', write('/dev/loop-control'), 'kernel'],
    ['the terminal of whoever started the node', write('/dev/tty'), 'shut'],
    ['a new terminal', write('/dev/ptmx'), 'kernel'],
    ['making a disk', "attempt(lambda: (os.mknod('/tmp/probe-disk', 0o060600, os.makedev(254, 0)), os.unlink('/tmp/probe-disk'))[1])"],
    ['making a character device', "attempt(lambda: (os.mknod('/tmp/probe-char', 0o020600, os.makedev(1, 1)), os.unlink('/tmp/probe-char'))[1])"],
  ]),
  ...of('mounts', [
    ['mount', "call('mount', b'none', b'/', b'no-such-type', 0, 0)"],
    ['umount', "call('umount2', b'/', 5)"],
    ['pivot_root', "call('pivot_root', 0, 0)"],
    ['chroot', "call('chroot', b'/')"],
    ['fsopen', "call('fsopen', 0, 0)"],
    ['fsconfig', "call('fsconfig', -1, 0, 0, 0, 0)"],
    ['fsmount', "call('fsmount', -1, 0, 0)"],
    ['fspick', "call('fspick', -1, 0, 0)"],
    ['open_tree', "call('open_tree', -1, 0, 0)"],
    ['move_mount', "call('move_mount', -1, 0, -1, 0, 0)"],
    ['mount_setattr', "call('mount_setattr', -1, 0, 0, 0, 0)"],
    ['listmount', "call('listmount', 0, 0, 0, 0)", 'kernel'],
    ['statmount', "call('statmount', 0, 0, 0, 0)", 'kernel'],
    ['quotactl', "call('quotactl', 0xffff, 0, 0, 0)", 'kernel'],
    ['quotactl_fd', "call('quotactl_fd', -1, 0, 0, 0)", 'kernel'],
    ['acct', "call('acct', 1)", 'kernel'],
  ]),
  ...of('namespaces', [
    ...NAMESPACES.map((kind) => [`the host's own: ${kind}`, `host_namespace('${kind}')`] as const),
    ["the host's own: time", "host_namespace('time')", 'kernel', 'clocks are read, and set by nobody inside'],
    ...NAMESPACES.map((kind) => [`unshare ${kind}`, `call('unshare', NEW['${kind}'])`] as const),
    ['unshare time', "call('unshare', NEW['time'])", 'kernel'],
    ...NAMESPACES.map((kind) => [`clone ${kind}`, `clone('${kind}')`] as const),
    ['namespaces that the kernel would count', "listed(kind for kind in NEW if content('/proc/sys/user/max_%s_namespaces' % kind).strip() not in ('', '0'))"],
    ['clone3', "call('clone3', 0, 0)"],
    ['setns mnt', "enters('mnt')"],
    ['setns net', "enters('net')"],
    ['setns user', "enters('user')"],
  ]),
  ...of('other processes', [
    ['a signal to a process of the host', "signals(facts['pid'])"],
    ['ptrace', "call('ptrace', 0, 0, 0, 0)"],
    ['reading memory', "call('process_vm_readv', os.getpid(), 0, 0, 0, 0, 0)"],
    ['writing memory', "call('process_vm_writev', os.getpid(), 0, 0, 0, 0, 0)"],
    ['comparing', "call('kcmp', os.getpid(), os.getpid(), 0, 0, 0)", 'kernel'],
    ['pidfd_open', "call('pidfd_open', 1, 0)"],
    ['pidfd_getfd', "call('pidfd_getfd', -1, 0, 0)"],
    ['pidfd_send_signal', "call('pidfd_send_signal', -1, 0, 0, 0)"],
    ['advice to others', "call('process_madvise', -1, 0, 0, 0, 0)"],
    ['reaping others', "call('process_mrelease', -1, 0)"],
    ['moving pages of others', "call('move_pages', 1, 0, 0, 0, 0, 0)", 'kernel'],
    ['descriptors of the host in the first process', 'strange_descriptors(1)', 'kernel'],
    ['descriptors of the runtime in a program that it starts', 'inherited()', 'kernel'],
  ]),
  ...of('kernel', [
    ['bpf', "call('bpf', -1, 0, 0)", 'kernel'],
    ['perf_event_open', "call('perf_event_open', 0, 0, -1, -1, 0)", 'kernel'],
    ['userfaultfd', "call('userfaultfd', 0)", 'kernel'],
    ['io_uring_setup', "call('io_uring_setup', 1, 0)", 'kernel'],
    ['io_uring_enter', "call('io_uring_enter', -1, 0, 0, 0, 0, 0)", 'kernel'],
    ['io_uring_register', "call('io_uring_register', -1, 0, 0, 0)", 'kernel'],
    ['io_setup', "call('io_setup', 0, 0)", 'kernel'],
    ['kexec_load', "call('kexec_load', 0, 0, 0, 0xffffffff)", 'kernel'],
    ['kexec_file_load', "call('kexec_file_load', -1, -1, 0, 0, 0xffffffff)", 'kernel'],
    ['init_module', "call('init_module', 0, 0, 0)", 'kernel'],
    ['finit_module', "call('finit_module', -1, 0, 0)", 'kernel'],
    ['delete_module', "call('delete_module', b'no-such-module', 0)", 'kernel'],
    ['keyctl', "call('keyctl', 0, -3, 0)", 'kernel'],
    ['add_key', "call('add_key', 0, 0, 0, 0, -3)", 'kernel'],
    ['request_key', "call('request_key', 0, 0, 0, -3)", 'kernel'],
    ['syslog', "call('syslog', 10, 0, 0)"],
    ['memfd_secret', "call('memfd_secret', 0)", 'kernel'],
    ['lsm_get_self_attr', "call('lsm_get_self_attr', 0, 0, 0, 0)", 'kernel'],
    ['landlock', "call('landlock_create_ruleset', 0, 0, 1)", 'kernel'],
    ['lookup_dcookie', "call('lookup_dcookie', 0, 0, 0)", 'kernel'],
    ['a filter of its own by seccomp', "call('seccomp', 2, 0, 0)", 'kernel'],
    ['memory policy', "call('set_mempolicy', 99, 0, 0)", 'kernel'],
    ['migrate_pages', "call('migrate_pages', 1, 0, 0, 0)", 'kernel'],
    ['a size of core dumps at which a program of the host takes them', "attempt(lambda: __import__('resource').setrlimit(4, (0, 1)))", 'open'],
    ['the same by high bits of its number', "call('prlimit64', 0, (1 << 32) + 4, bytes(16), 0)", 'open'],
    ['core dumps of another size', "(lambda limits: (limits != (1, 1), str(limits)))(__import__('resource').getrlimit(4))", 'open'],
    ['page zero', 'maps_zero()', 'kernel'],
    ['messages of POSIX', "call('mq_open', b'probe', 0, 0, 0)", 'kernel'],
  ]),
  ...of('the machine', [
    ['reboot', "call('reboot', 0, 0, 0, 0)"],
    ['swapon', "call('swapon', 0, 0)"],
    ['swapoff', "call('swapoff', 0)"],
    ['settimeofday', "call('settimeofday', 0, 0)"],
    ['clock_settime', "call('clock_settime', 0, 0)"],
    ['adjtimex', "call('adjtimex', 0)"],
    ['clock_adjtime', "call('clock_adjtime', 0, 0)"],
    ['sethostname', "call('sethostname', 0, -1)"],
    ['setdomainname', "call('setdomainname', 0, -1)"],
    ['iopl', "call('iopl', 9)", 'kernel'],
    ['ioperm', "call('ioperm', 0x10000, 1, 1)", 'kernel'],
    ['modify_ldt', "call('modify_ldt', 0, 0, 0)", 'kernel'],
    ['vhangup', "call('vhangup')", 'never'],
    ['a turn before all others', 'attempt(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))'],
    ['a deadline of its own', "call('sched_setattr', 0, struct.pack('=IIQiIQQQ', 48, 6, 0, 0, 0, 10**6, 10**8, 10**8), 0)", 'kernel'],
    ['being less nice', 'attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))'],
    ['disk before others', "call('ioprio_set', 1, 0, 0x2000)"],
    ['locking 16 MiB of memory', 'locks(1 << 24)'],
    ['flushing all file systems', "call('sync')", 'never'],
    ['flushing the file system of the code', "call('syncfs', os.open(facts['code'], os.O_RDONLY))", 'never'],
    ['watchers of files that all sandboxes share', 'inotify(40)', 'never'],
    ['how many watches it may set', "(lambda most: (most > 8192, str(most)))(int(content('/proc/sys/user/max_inotify_watches')))", 'kernel'],
  ]),
  ...of('rights', [
    ['becoming root', 'becomes(0)'],
    ['becoming another user', 'becomes(12345)'],
    ['another group', 'attempt(lambda: os.setresgid(0, 0, 0))'],
    ['more groups', 'attempt(lambda: os.setgroups([0]))'],
    [
      'capabilities',
      "(int(content('/proc/self/status').split('CapBnd:')[1].split()[0], 16) != 0, content('/proc/self/status').split('CapBnd:')[1].split()[0])",
    ],
    ['capset', "call('capset', struct.pack('=II', 0x20080522, 0), bytes(24))"],
    ['ambient capabilities', 'attempt(lambda: check(libc.prctl(47, 2, 0, 0, 0)))', 'kernel'],
    [
      'new rights by programs',
      "('NoNewPrivs:\\t1' not in content('/proc/self/status'), 'no_new_privs' if 'NoNewPrivs:\\t1' in content('/proc/self/status') else 'allowed')",
    ],
    ['a program with the set-uid bit', "by_program('/usr/bin/su', '-c', 'id -u')"],
    ['a personality', "call('personality', 0xffffffff)"],
  ]),
  ...of('sockets', [
    ['AF_VSOCK', 'opens_socket(40, socket.SOCK_STREAM)', 'never'],
    ['AF_PACKET', 'opens_socket(17, socket.SOCK_RAW, 0)', 'kernel'],
    ['AF_ALG', 'opens_socket(38, socket.SOCK_SEQPACKET)', 'never'],
    ['other families', 'families(1, 2, 10, 16)', 'never'],
    ['events of devices', 'opens_socket(16, socket.SOCK_RAW, 15)', 'open'],
    ['netlink beyond addresses and routes', 'protocols(16, socket.SOCK_RAW, 0)', 'never'],
    ['raw', 'first(opens_socket(2, socket.SOCK_RAW, 1), opens_socket(10, socket.SOCK_RAW, 58), opens_socket(2, socket.SOCK_RAW, 255))'],
    ['streams beyond TCP', 'first(protocols(2, socket.SOCK_STREAM, 0, 6), protocols(10, socket.SOCK_STREAM, 0, 6))', 'never'],
    ['datagrams beyond UDP', 'first(protocols(2, socket.SOCK_DGRAM, 0, 17), protocols(10, socket.SOCK_DGRAM, 0, 17))', 'never'],
    ['packets in sequence', 'first(protocols(2, socket.SOCK_SEQPACKET), protocols(10, socket.SOCK_SEQPACKET), protocols(2, 6))', 'never'],
    ['pairs beyond AF_UNIX', 'listed(family for family in range(2, 46) if attempt(lambda: socket.socketpair(family, socket.SOCK_STREAM))[0])', 'never'],
  ]),
  ...of('network', [
    ['loopback of the host', "to_hosts(['127.0.0.1'], facts['port'])"],
    ['loopback of the host, version 6', "to_hosts(['::1'], facts['port6'], socket.AF_INET6)", 'kernel'],
    ['other addresses of the host', "to_hosts(facts['addresses'], facts['anyPort'])", 'kernel'],
    ['a named socket of the host without a file', "connects(socket.AF_UNIX, '\\0' + facts['abstract'])"],
    ['metadata', "to_hosts(['169.254.169.254', '169.254.170.2', '100.100.100.200'], 80)", 'never'],
    ['private networks', "to_hosts(['10.0.0.1', '172.17.0.1', '192.168.0.1', '192.168.1.1'], 80)", 'never'],
    ["a neighbour's port", "to_hosts(['127.0.0.1'], facts['neighbour']['port'])"],
    ["a neighbour's file in /tmp", "reads('/tmp/' + facts['neighbour']['file'])"],
    ["a neighbour's file in /dev/shm", "reads('/dev/shm/' + facts['neighbour']['file'])"],
    ['processes beyond its own', 'sees_processes(8)'],
  ]),
  ...of('other ways into the kernel', [
    ['calls of 32 bits', "machine_code(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')", 'kernel'],
    ['calls of x32', '(lambda answer: (answer >= 0, name_of(ctypes.get_errno())))(raw(0x40000000 | 39)) if X64 else None', 'kernel'],
    ['a number that does not exist', '(lambda answer: (answer >= 0 or ctypes.get_errno() != errno.ENOSYS, name_of(ctypes.get_errno())))(raw(5000))', 'shut'],
  ]),
  ...of('what is told of the host', [
    ['the path of its data', "tells('/proc/self/mountinfo', facts['data'])", 'kernel', 'a mount says where its files come from'],
    ['the path of its program', "tells('/proc/self/mountinfo', facts['program'])", 'kernel', 'Node lies where it was installed'],
    ['control group', 'group_paths()', 'kernel'],
    ['host name', "is_fact('hostname', os.uname().nodename)"],
    ['boot id', "is_fact('boot', content('/proc/sys/kernel/random/boot_id').strip())", 'open'],
    ['size of its memory', "is_fact('memory', value(memory_total))", 'open'],
    ['size of its memory by sysinfo(2)', "is_fact('memory', sysinfo_total())", 'open', 'the C library believes whatever that call leaves'],
    [
      'load',
      "(lambda text: (int(text.split()[3].split('/')[1]) > 1 if text else False, text.strip()))(content('/proc/loadavg'))",
      'open',
      'sysinfo(2) tells it too',
    ],
  ]),
]
