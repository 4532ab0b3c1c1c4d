# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""FullyQualifiedDomainName: the host name as the system's resolver completes it.

The name is looked up when the host asks for it, in a child process, because glibc's
getaddrinfo has no time limit and cannot be cancelled.  A child also keeps the libnss
modules that the resolver loads out of the resident process, and it reads resolv.conf
and nsswitch.conf as they are now.  It costs the daemon 0.5 ms to start and 0.3 ms to
reap (measured).

A look-up starts if the kernel's host name has changed; if the addresses have changed
since the last look-up, or that look-up failed, but then not before an interval has
passed.  The request that starts it waits for at most `PATIENCE` seconds.  After that,
requests no longer wait: they get the last answer for the same host name, or the host
name itself, until one finds that the child has ended.  A failure is never a name (the
C daemon sends "getaddrinfo failed: ..." to the host from then on).

Nothing polls the child between requests, so it cannot wake an idle daemon.  A child
that has ended remains a zombie until the next request for the name, or `close`.  One
that hangs is killed by its own alarm(2) after `LOOKUP_TIMEOUT`, or by a request before.
"""

from __future__ import annotations

import _socket
import os
import time

from .child import end_child, fork_isolated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .child import Wait

#: A DNS name has at most 253 bytes, and glibc's resolver returns at most 1024.
#: An administrator would not recognize a guest by a name longer than this.
MAX_NAME = 511

#: Seconds that the request which starts a look-up waits for it.
PATIENCE = 1.0

#: Seconds that a look-up may take.  resolv.conf(5): 5 s for each of at most three
#: servers, two attempts.
LOOKUP_TIMEOUT = 30.0

#: Seconds from one look-up to the next if addresses have changed.  They come in bursts
#: (a boot, containers that start), and each look-up is a process and a DNS query.
LOOKUP_INTERVAL = 5.0

#: Seconds from a failed look-up to the next if nothing has changed.  Most names that
#: cannot be resolved never will be.
RETRY_INTERVAL = 30.0

# Test suites and agents count the processes that are called hv_kvp_daemon.
_CHILD_NAME = "hv_kvp_fqdn"


def canonical_name(host: bytes) -> bytes:
    """Return the resolver's full name of a host; empty if it knows none of this host.

    The first label of such a name is the host's own.  An address may belong to several
    names, and the canonical one may be another's: ``127.0.0.1 localhost vm`` in
    /etc/hosts makes it ``localhost``, a CNAME in the DNS that of a server.  IPv4 is asked
    first, as in the C daemon.

    This blocks.  The name is passed as bytes: Python applies IDNA to a str, and so
    refuses names that the resolver knows.

    :raises UnicodeError: the answer is not UTF-8.
    """
    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            found = _address_info(host, family).encode()
        except _socket.gaierror:
            continue
        if _first_label(found) == _first_label(host):
            # ``127.0.1.1 vm vm.example.org``: the host name is the fuller one.
            return host if host.lower().startswith(found.lower() + b".") else found
    return b""


def _first_label(name: bytes) -> bytes:
    return name.partition(b".")[0].lower()


def _address_info(host: bytes, family: int) -> str:
    answers = _socket.getaddrinfo(
        host, None, family, _socket.SOCK_STREAM, flags=_socket.AI_CANONNAME
    )
    return answers[0][3]


class FqdnLookup:
    """The name, and at most one child that looks it up.

    ``resolve`` runs in the child and turns a host name into its canonical name; any
    exception or an empty name is a failure.  ``report`` gets a line for the log if no
    child can be started.
    """

    def __init__(
        self,
        wait: Wait,
        report: Callable[[str], None],
        resolve: Callable[[bytes], bytes] = canonical_name,
        *,
        patience: float = PATIENCE,
    ) -> None:
        #: Whether the name is the resolver's.
        self.known = False
        self._wait = wait
        self._report = report
        self._resolve = resolve
        self._patience = patience
        self._name = b""
        # What the last look-up was for and when it started; no addresses: none yet.
        self._host = ""
        self._addresses: tuple[bytes, bytes] | None = None
        self._started = 0.0
        # The child and the pipe from it, -1 while none runs.
        self._pid = self._fd = -1

    def name(self, addresses: tuple[bytes, bytes]) -> bytes:
        """Return the name in UTF-8; ``addresses`` are the guest's.

        This takes `PATIENCE` at most, and usually no system call but gethostname(2).
        """
        host = _socket.gethostname()
        if self._fd >= 0:
            self._collect()
        changed = addresses != self._addresses
        wanted = changed or not self.known
        if host != self._host or (wanted and self._fd < 0 and self._is_due(changed=changed)):
            self._start(host, addresses)
            if self._fd >= 0 and self._wait(self._fd, self._patience):
                self._collect()
        return self._name

    def refresh(self) -> None:
        """Make the next request start a look-up, whatever is under way or known."""
        self.close()
        self._addresses = None

    def close(self) -> None:
        """End a look-up that is under way."""
        if self._fd >= 0:
            os.close(self._fd)
            end_child(self._pid)
            self._pid = self._fd = -1

    def _is_due(self, *, changed: bool) -> bool:
        interval = LOOKUP_INTERVAL if changed else RETRY_INTERVAL
        return self._addresses is None or time.monotonic() - self._started >= interval

    def _start(self, host: str, addresses: tuple[bytes, bytes]) -> None:
        self.close()
        if host != self._host:
            self._host = host
            self._settle(b"")
        self._addresses = addresses
        self._started = time.monotonic()
        try:
            self._pid, self._fd = self._fork(os.fsencode(host))
        except OSError as error:
            self._settle(b"")
            self._report(f"the host name is used, the full name cannot be looked up: {error}")

    def _fork(self, host: bytes) -> tuple[int, int]:
        def answer(pipe: int) -> None:
            # A byte too many makes a name that is too long a failure.
            os.write(pipe, self._resolve(host)[: MAX_NAME + 1])

        # If the daemon is killed, nothing else ends a resolver that hangs.
        return fork_isolated(answer, _CHILD_NAME, int(LOOKUP_TIMEOUT) + 1)

    def _collect(self) -> None:
        """Take the child's answer if it is there; give up a child that is out of time."""
        try:
            # One read is enough: the child writes less than PIPE_BUF bytes, at once.
            # End of file without an answer is a failure.
            answer = os.read(self._fd, MAX_NAME + 1)
        except BlockingIOError:
            if time.monotonic() - self._started < LOOKUP_TIMEOUT:
                return
            answer = b""
        self.close()
        self._settle(answer)

    def _settle(self, answer: bytes) -> None:
        """Take the resolver's answer, or for anything else the host name."""
        self.known = _is_name(answer)
        self._name = answer if self.known else _printable(self._host)


def _is_name(answer: bytes) -> bool:
    try:
        return 0 < len(answer) <= MAX_NAME and answer.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _printable(host: str) -> bytes:
    """Encode the kernel's host name (at most 64 bytes of any kind) as printable UTF-8."""
    text = os.fsencode(host).decode("utf-8", "replace")
    return "".join(filter(str.isprintable, text)).encode()
