/**
 * The system calls that user code may make, by what they are for. What is not listed answers ENOSYS, as if the kernel
 * did not have it: programs have ways around what old kernels lack. Why the rest is left out stands in SECURITY.md.
 */
const ALLOWED: Readonly<Record<string, string>> = {
  files: `access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fallocate
    fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat
    fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr llistxattr lremovexattr lseek lsetxattr lstat mkdir mkdirat
    newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
    removexattr rename renameat renameat2 rmdir sendfile setxattr stat statfs statx symlink symlinkat sync_file_range truncate
    umask unlink unlinkat utime utimensat utimes write writev`,
  pipes: 'pipe pipe2 splice tee vmsplice',
  waiting: `epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 poll ppoll pselect6 select
    signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime`,
  memory: `brk madvise membarrier memfd_create mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall munmap
    pkey_alloc pkey_free pkey_mprotect`,
  processes: `arch_prctl execve execveat exit exit_group fork futex futex_requeue futex_wait futex_waitv futex_wake get_robust_list
    get_thread_area getpgid getpgrp getpid getppid getsid gettid prctl restart_syscall rseq set_robust_list set_thread_area
    set_tid_address setpgid setsid vfork wait4 waitid`,
  signals: `alarm kill pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_tgsigqueueinfo sigaltstack tgkill tkill`,
  time: `clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep setitimer time timer_create timer_delete
    timer_getoverrun timer_gettime timer_settime times`,
  sockets: `accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto
    setsockopt shutdown`,
  users: `capget getegid geteuid getgid getgroups getresgid getresuid getuid setfsgid setfsuid setgid setgroups setregid setresgid
    setresuid setreuid setuid`,
  scheduling: `getcpu getpriority ioprio_get sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield setpriority`,
  system: 'getrandom getrlimit getrusage sysinfo ugetrlimit uname',
  'System V': 'msgctl msgget msgrcv msgsnd semctl semget semop semtimedop shmat shmctl shmdt shmget',
}

interface Condition {
  /** Which argument. */
  readonly index: number
  readonly op: 'SCMP_CMP_EQ' | 'SCMP_CMP_MASKED_EQ'
  /** What it must be; of a masked one, the mask. */
  readonly value: number
  /** Of a masked one, what must be left. */
  readonly valueTwo?: number
}
interface Rule {
  readonly names: readonly string[]
  readonly action: 'SCMP_ACT_ALLOW'
  /** All of them must hold; of several rules for a call, one. */
  readonly args?: readonly Condition[]
}

const is = (index: number, value: number): Condition => ({ index, value, op: 'SCMP_CMP_EQ' })
/** The kernel reads fewer bits of some arguments than there are: what is compared must be those. */
const masked = (index: number, mask: number, rest: number): Condition => ({ index, value: mask, valueTwo: rest, op: 'SCMP_CMP_MASKED_EQ' })
const allow = (names: readonly string[], ...args: Condition[]): Rule => ({ names, action: 'SCMP_ACT_ALLOW', ...(args.length === 0 ? {} : { args }) })

// CLONE_NEWTIME | NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
const NAMESPACES = 0x7e020080
const FILE_TYPE = 0o170000
const PIPE = 0o010000
const ENOSYS = 38

const UNIX = 1
const INTERNET = [2, 10]
const NETLINK = 16
const [STREAM, DATAGRAM] = [1, 2]
const [TCP, UDP] = [6, 17]
/** The lower bits of a socket's type; above them are its flags. */
const SOCKET_TYPE = 0xf

const UINT = 0xffffffff
/** All resources but RLIMIT_CORE, which is 4: as masks, each with what it leaves. */
const RESOURCES: readonly (readonly [mask: number, rest: number])[] = [
  [0xfffffffc, 0],
  [UINT, 5],
  [0xfffffffe, 6],
  [0xfffffff8, 8],
]

const RULES: readonly Rule[] = [
  allow(Object.values(ALLOWED).flatMap((names) => names.split(/\s+/))),
  // Of the types of file that mknod makes, named pipes alone.
  allow(['mknod'], masked(1, FILE_TYPE, PIPE)),
  allow(['mknodat'], masked(2, FILE_TYPE, PIPE)),
  allow(['clone'], masked(0, NAMESPACES, 0)),
  // TCP and UDP, addresses and routes of the own network: any other family or protocol is code of the kernel, and often
  // a module that asking for it would load.
  allow(['socket'], is(0, UNIX)),
  allow(['socket'], is(0, NETLINK), is(2, 0)),
  ...INTERNET.flatMap((family) =>
    [
      [STREAM, TCP],
      [DATAGRAM, UDP],
    ].flatMap(([type = 0, protocol = 0]) => [0, protocol].map((one) => allow(['socket'], is(0, family), masked(1, SOCKET_TYPE, type), is(2, one)))),
  ),
  allow(['socketpair'], is(0, UNIX)),
  // Limits may be read, and set but for the size of core dumps: where the host has a program take those, its limit of
  // one byte is what keeps that program from being started for a process of ours. At 0 it is started.
  allow(['prlimit64'], is(2, 0)),
  ...RESOURCES.flatMap(([mask, rest]) => [allow(['prlimit64'], masked(1, mask, rest)), allow(['setrlimit'], masked(0, mask, rest))]),
]

/** The filter in the words of the OCI runtime specification. */
export const seccomp = {
  defaultAction: 'SCMP_ACT_ERRNO',
  defaultErrnoRet: ENOSYS,
  architectures: process.arch === 'arm64' ? ['SCMP_ARCH_AARCH64'] : ['SCMP_ARCH_X86_64'],
  syscalls: RULES,
}
