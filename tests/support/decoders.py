# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What decodes bytes from outside, as functions that take any bytes, for fuzzing.

Each function of `TARGETS` calls the decoders of one source (the driver, the kernel, a file,
a program) and asserts what must hold for any bytes: no other exception than the documented
one, and that a value which is encoded again is decoded to the same value.
``tests/soak/fuzz.py`` searches for bytes for which that fails.  Those of ``corpus.txt``,
which together take each branch that it has found, are tried by ``make test``.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from base64 import b64decode, b64encode
from binascii import crc32
from collections.abc import Callable, Iterable
from typing import TypeVar
from zlib import compress, decompress

from hv_kvp_daemon.guest.os_release import read_identity
from hv_kvp_daemon.netconfig import (
    configured,
    injection_record,
    injection_request,
    keyfile,
    networkd,
    networkmanager,
    resolver,
    scripts,
    settings,
    target,
)
from hv_kvp_daemon.netconfig.adapter import parse_mac
from hv_kvp_daemon.netconfig.config import AdapterConfig
from hv_kvp_daemon.netconfig.injection import DIRECTORY
from hv_kvp_daemon.netconfig.program import MAX_OUTPUT, Programs
from hv_kvp_daemon.netconfig.servers import nameservers
from hv_kvp_daemon.pools import journal
from hv_kvp_daemon.pools.damage import damage
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.service import status, status_page
from hv_kvp_daemon.transport import uevent
from hv_kvp_daemon.wire import connector, linkinfo, netlink, nexthop, record, route, rtnetlink
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.ipinfo import (
    decode_ip,
    encode_ip_reply,
    encode_ip_request,
)
from hv_kvp_daemon.wire.message import (
    MESSAGE_SIZE,
    answers_old_register,
    decode_reply,
    decode_request,
    decode_version,
    encode_pair,
    encode_request,
)

CORPUS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "soak", "corpus.txt")
GUID = "f8615163-df3e-46c5-913f-f2d2f965ed0e"

Value = TypeVar("Value")


def _ignore(_: str) -> None:
    """Take a line for the log."""


def _or_none(
    decode: Callable[..., Value], *arguments: object, error: type[Exception] = WireError
) -> Value | None:
    """Return what a decoder does, or None if it raises its documented error."""
    try:
        return decode(*arguments)
    except error:
        return None


# -- the driver


def message(data: bytes) -> None:
    """Decode a message as a request, a reply, a registration, and an adapter's settings."""
    raw = data[:MESSAGE_SIZE].ljust(MESSAGE_SIZE, b"\0")
    decode_version(raw)
    answers_old_register(raw)
    request = _or_none(decode_request, raw)
    if request is not None:
        assert decode_request(encode_request(request)) == request
        reply = decode_reply(encode_pair(request.key, request.value, request.index))
        reply.key.decode()
        reply.value.decode()
    _or_none(decode_reply, raw)
    info = decode_ip(raw)
    assert decode_ip(encode_ip_request(info)) == info
    answer = decode_ip(encode_ip_reply(info))
    assert decode_ip(encode_ip_reply(answer)) == answer
    parse_mac(info.adapter_id)
    _or_none(target.parse_guid, info.adapter_id, error=settings.RequestError)
    asked = _or_none(settings.parse, info, _ignore, error=settings.RequestError)
    if asked is not None:
        _check_packet(injection_request.Request(GUID, "auto", asked))


def datagram(data: bytes) -> None:
    """Decode a datagram of the connector."""
    view = memoryview(data)
    found = _or_none(connector.unpack, view)
    if found is not None:
        assert len(found) == MESSAGE_SIZE
        message(bytes(found))
    netlink.describe(view)
    uevent.parse(data)


# -- the kernel


def netlink_messages(data: bytes) -> None:
    """Split a datagram, and decode each message as any of those that the kernel sends."""
    view = memoryview(data)
    netlink.describe(view)
    for each in _or_none(netlink.split, view) or ():
        for decode in (rtnetlink.decode_address, nexthop.decode_nexthop, route.decode_route):
            _or_none(decode, each.payload)
        _or_none(netlink.error_of, each)
        link = _or_none(rtnetlink.decode_link, each.payload)
        if link is not None:
            _or_none(linkinfo.vrf_table, link.linkinfo)
            _or_none(linkinfo.permanent_address, link.linkinfo)
    defaults = _or_none(_default_routes, view)
    if defaults is not None:
        assert _default_routes(memoryview(route.without_specific(view))) == defaults


def _default_routes(datagram: memoryview) -> list[tuple[object, ...]]:
    parts = netlink.Dump(1, 2).feed(datagram)
    routes = [_or_none(route.decode_default_route, part.payload) for part in parts]
    return [
        (each.family, each.table, each.metric, [(hop.index, hop.gateway) for hop in each.hops])
        for each in routes
        if each is not None
    ]


# -- files


def pool(data: bytes) -> None:
    """Open a pool with any bytes, and any journal.

    The first byte says whether the journal's seal is right and whether it is of this boot,
    the next two are the length of the journal; the rest is the pool.  What is found there
    is the same at the next look, and so it is around a key that is set and deleted.
    """
    end = 3 + int.from_bytes(data[1:3], "little")
    entry = bytearray(data[3:end])
    if len(entry) >= journal._START:
        if data[0] & 1:
            struct.pack_into("=I", entry, journal._START - 4, journal.boot())
        if data[0] & 2:
            struct.pack_into("=Q", entry, 16, crc32(entry[journal._HEAD.size :]))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        path = os.path.join(directory, ".kvp_pool_1")
        _put(os.path.join(directory, ".hv_kvp_journal_1"), bytes(entry) + bytes(8))
        _put(path, data[end:])
        pools = [PoolFile(1, path, report=_ignore, sync=False) for _ in range(2)]
        try:
            _use_pool(*pools)
        except PoolError:
            return
        finally:
            for each in pools:
                each.close()


def _use_pool(one: PoolFile, other: PoolFile) -> None:
    found = one.records()
    assert one.records() == found == other.records()
    for number, pair in enumerate(found):
        assert one.read(number) == pair
    one.store(b"a key", b"a value")
    assert other.find(b"a key") == b"a value"
    assert one.delete(b"a key") == 1
    assert other.records() == [pair for pair in found if pair.key != b"a key"]


def pool_record(data: bytes) -> None:
    """Decode a record, and encode it again where it can be."""
    raw = data[: record.RECORD_SIZE].ljust(record.RECORD_SIZE, b"\0")
    pair = record.decode(raw)
    kinds = damage(raw)
    again = _or_none(record.encode, pair.key, pair.value)
    if again is not None:
        assert record.decode(again) == pair
        assert again == raw or kinds
    if record.plain_lengths(raw) is not None:
        assert again == raw


def status_file(data: bytes) -> None:
    """Read a status page of this process, with a checksum that is right."""
    page = bytearray(data[: status_page.SIZE].ljust(status_page.SIZE, b"\0"))
    pid = os.getpid()
    identity = status_page.MAGIC, status_page.LAYOUT, pid, status_page.start_ticks(pid)
    status_page.IDENTITY.pack_into(page, 0, *identity)
    checksum = crc32(page[status_page.STATE_BLOCK])
    status_page.CHECKSUM.pack_into(page, status_page.CHECKSUM_OFFSET, checksum)
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(page)
        file.flush()
        found = status.find(file.name)
        assert found is not None
        assert found.overdue >= 0
        assert set(found.failing) <= set(found.failed)


#: Where the bytes are put, below a root directory of their own.
_FILES = (
    "/etc/os-release",
    "/etc/resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    f"{networkd.LINKS}/2",
    f"{networkmanager.DEVICES}/2",
    "/etc/NetworkManager/system-connections/eth0.nmconnection",
    "/run/network/ifstate",
    "/etc/network/interfaces",
    "/etc/sysconfig/network-scripts/ifcfg-eth0",
    f"{DIRECTORY}/{GUID}.json",
)
_UNITS = "/run/systemd/units"


def guest_files(data: bytes) -> None:
    """Read the bytes as each file of the guest that has a format."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        for path in _FILES:
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            _put(root + path, data)
        os.makedirs(root + _UNITS)
        for unit in ("systemd-networkd", "NetworkManager"):
            os.symlink("1", f"{root}{_UNITS}/invocation:{unit}.service")
        _read_files(root, data)


def _read_files(root: str, data: bytes) -> None:
    assert all(character >= " " for text in read_identity(root) for character in text)
    nameservers(root, resolver.RESOLV_CONF, ("eth0", 2))
    resolver.servers(_Outputs(root, data), AdapterConfig("eth0", 2))
    networkd.read_link(root, 2)
    keyfile.read_sections(root, configured.INTERFACES, keyfile.shell_word)
    configured.configured_dhcp(root, "eth0")
    configured.is_configured(root, "eth0")
    configured.includes(root, "/etc/network/interfaces.d/hv-kvp-eth0")
    networkmanager.dhcp(_Outputs(root, data), "eth0", 2)
    _or_none(injection_record.load, root, GUID, error=ValueError)


def _put(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


# -- programs


class _Outputs(Programs):
    """Programs whose output is the bytes."""

    __slots__ = ("_output",)

    def __init__(self, root: str, data: bytes) -> None:
        super().__init__(lambda *_: True, _ignore, root)
        self._output = data[:MAX_OUTPUT].decode("utf-8", "surrogateescape")

    def run(self, *_: object, **__: object) -> str | None:
        return self._output

    def ask(self, *_: object, **__: object) -> str | None:
        return self._output


def program_output(data: bytes) -> None:
    """Take the bytes for the output of each program that GET_IP_INFO runs."""
    programs = _Outputs("/", data)
    scripts.dhcp(programs, "eth0")
    scripts.dns(programs, "eth0", 2)
    networkmanager.ask_servers(programs, "eth0")
    networkmanager._ask_uuid(programs, "eth0")
    networkmanager._ask_dhcp(programs, GUID)
    resolver._ask_resolved(programs, 2)


def packet(data: bytes) -> None:
    """Decode a packet to the process that carries out SET_IP_INFO."""
    request = _or_none(injection_request.from_packet, data, error=settings.RequestError)
    if request is not None:
        _check_packet(request)


def _check_packet(request: injection_request.Request) -> None:
    assert injection_request.from_packet(request.packet()) == request
    text = json.dumps(settings.to_document(request.settings))
    assert settings.from_document(json.loads(text)) == request.settings


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (
        message,
        datagram,
        netlink_messages,
        pool,
        pool_record,
        status_file,
        guest_files,
        program_output,
        packet,
    )
}


# -- the corpus


def read_corpus() -> list[tuple[str, bytes]]:
    """Return the stored inputs, each with the name of its target."""
    with open(CORPUS, encoding="ascii") as file:
        rows = [line.split() for line in file]
    return [(name, decompress(b64decode(text))) for name, text in rows]


def write_corpus(inputs: Iterable[tuple[str, bytes]]) -> None:
    """Store inputs: a line each, the target's name and the bytes (zlib, then base64)."""
    rows = sorted(
        {f"{name} {b64encode(compress(data, 9)).decode()}\n" for name, data in inputs}
    )
    with open(CORPUS, "w", encoding="ascii") as file:
        file.writelines(rows)
