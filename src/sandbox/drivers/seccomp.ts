/**
 * The system calls that user code may make. What is not listed answers ENOSYS, as if the kernel did not have it.
 * Left out on purpose, though ordinary containers allow some of them: ptrace, process_vm_*, kcmp, pidfd_*, keyctl and
 * its family, unshare, setns, the whole mount family, io_uring_*, bpf, perf_event_open, userfaultfd, personality,
 * name_to_handle_at, syslog, memfd_secret, quotactl, acct, clone3 (its flags cannot be looked at), AF_VSOCK and other
 * rare address families.
 */
const ALLOWED = `
accept accept4 access alarm bind brk capget chdir chmod chown clock_getres clock_gettime clock_nanosleep close close_range
connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd
eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown
fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_waitv
futex_wait futex_wake futex_requeue futimesat getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername
getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit get_robust_list getrusage getsid getsockname
getsockopt get_thread_area gettid gettimeofday getuid getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
ioctl ioprio_get kill lchown lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat madvise
membarrier memfd_create mincore mkdir mkdirat mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall munmap
nanosleep newfstatat open openat openat2 pause pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv
preadv2 prlimit64 pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg
removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam
sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr
sched_setparam sched_setscheduler sched_yield select sendfile sendmmsg sendmsg sendto setfsgid setfsuid setgid setgroups
setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit set_robust_list setsid setsockopt
set_thread_area set_tid_address setuid setxattr shmat shmctl shmdt shmget semctl semget semop semtimedop msgctl msgget msgrcv
msgsnd shutdown sigaltstack signalfd signalfd4 socketpair splice stat statfs statx symlink symlinkat sync sync_file_range
syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
timerfd_gettime timerfd_settime times tkill truncate ugetrlimit umask uname unlink unlinkat utime utimensat utimes vfork
vmsplice wait4 waitid write writev arch_prctl
`
  .trim()
  .split(/\s+/)

// CLONE_NEWTIME | NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
const NAMESPACES = 0x7e020080
// Of the types of file that mknod makes, named pipes alone.
const FILE_TYPE = 0o170000
const PIPE = 0o010000
const ENOSYS = 38
const FAMILIES = { AF_UNIX: 1, AF_INET: 2, AF_INET6: 10, AF_NETLINK: 16 }

/** The filter in the words of the OCI runtime specification. */
export const seccomp = {
  defaultAction: 'SCMP_ACT_ERRNO',
  defaultErrnoRet: ENOSYS,
  architectures: process.arch === 'arm64' ? ['SCMP_ARCH_AARCH64'] : ['SCMP_ARCH_X86_64'],
  syscalls: [
    { names: ALLOWED, action: 'SCMP_ACT_ALLOW' },
    { names: ['mknod'], action: 'SCMP_ACT_ALLOW', args: [{ index: 1, value: FILE_TYPE, valueTwo: PIPE, op: 'SCMP_CMP_MASKED_EQ' }] },
    { names: ['mknodat'], action: 'SCMP_ACT_ALLOW', args: [{ index: 2, value: FILE_TYPE, valueTwo: PIPE, op: 'SCMP_CMP_MASKED_EQ' }] },
    { names: ['clone'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value: NAMESPACES, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }] },
    ...Object.values(FAMILIES).map((family) => ({ names: ['socket'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value: family, op: 'SCMP_CMP_EQ' }] })),
  ],
}
