"""System calls that no notebook needs, as a filter of the kernel's (seccomp) that takes them from S."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from functools import cache

REFUSED = """
    add_key keyctl request_key
    unshare setns chroot pivot_root mount umount2 move_mount open_tree open_tree_attr mount_setattr fsopen
    fsconfig fsmount fspick statmount listmount name_to_handle_at open_by_handle_at quotactl quotactl_fd
    ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp
    io_uring_setup io_uring_enter io_uring_register bpf perf_event_open userfaultfd fanotify_init
    kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff acct syslog
    settimeofday clock_settime clock_adjtime adjtimex iopl ioperm modify_ldt personality vhangup
    move_pages migrate_pages lookup_dcookie nfsservctl uselib
    memfd_create memfd_secret shmget shmat shmctl msgget semget
""".split()  # keyrings, namespaces, other processes, the kernel's wide doors; memory that no process shows
NAMESPACES = 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MOST_FAMILIES = 64
FAMILIES = 1, 2, 10  # sockets: local ones, IPv4, IPv6; netlink, vsock, packets and the others are refused


@cache
def system_call_filter() -> bytes:
    """The filter as the kernel takes it (an array of struct sock_filter); empty without libseccomp."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):
        return b""
    refuse = pyseccomp.ERRNO(errno.EPERM)
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)  # programs of another architecture are ended
    for name in REFUSED:
        with contextlib.suppress(OSError):  # a call that this architecture or library does not know
            rules.add_rule(refuse, name)
    for flag in NAMESPACES:
        rules.add_rule(refuse, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag))
    with contextlib.suppress(OSError):  # its flags are in memory, which a filter cannot read: clone instead
        rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for family in {*range(MOST_FAMILIES)} - {*FAMILIES}:
        rules.add_rule(refuse, "socket", pyseccomp.Arg(0, pyseccomp.EQ, family))
    rules.add_rule(refuse, "socket", pyseccomp.Arg(0, pyseccomp.GE, MOST_FAMILIES))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
