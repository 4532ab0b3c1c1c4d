# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Numbers of the Linux user-space API, under the names of its headers.

``tests/wire/layout.tsv`` has the numbers, sizes and offsets that a C compiler prints for
these headers; tests compare them with this module, and the driver tests compile them again.
"""

# include/uapi/linux/hyperv.h
HV_KVP_EXCHANGE_MAX_KEY_SIZE = 512
HV_KVP_EXCHANGE_MAX_VALUE_SIZE = 2048
# Sizes in bytes; the header gives the number of __u16 elements, half of it.
MAX_ADAPTER_ID_SIZE = 128
MAX_IP_ADDR_SIZE = 1024
MAX_GATEWAY_SIZE = 512

KVP_OP_GET = 0
KVP_OP_SET = 1
KVP_OP_DELETE = 2
KVP_OP_ENUMERATE = 3
KVP_OP_GET_IP_INFO = 4
KVP_OP_SET_IP_INFO = 5
KVP_OP_REGISTER = 4  # of daemons before Linux 3.7; the number of GET_IP_INFO, too
KVP_OP_REGISTER1 = 100

KVP_OP_NAMES = {
    KVP_OP_GET: "GET",
    KVP_OP_SET: "SET",
    KVP_OP_DELETE: "DELETE",
    KVP_OP_ENUMERATE: "ENUMERATE",
    KVP_OP_GET_IP_INFO: "GET_IP_INFO",
    KVP_OP_SET_IP_INFO: "SET_IP_INFO",
    KVP_OP_REGISTER1: "REGISTER1",
}

KVP_POOL_EXTERNAL = 0
KVP_POOL_GUEST = 1
KVP_POOL_AUTO = 2
KVP_POOL_AUTO_EXTERNAL = 3
KVP_POOL_AUTO_INTERNAL = 4
KVP_POOL_COUNT = 5

# The keys of the auto pool in the order of their index, as Microsoft specifies them: from
# the comment above struct hv_kvp_msg.
KVP_AUTO_KEYS = (
    b"FullyQualifiedDomainName",
    b"IntegrationServicesVersion",
    b"NetworkAddressIPv4",
    b"NetworkAddressIPv6",
    b"OSBuildNumber",
    b"OSName",
    b"OSMajorVersion",
    b"OSMinorVersion",
    b"OSVersion",
    b"ProcessorArchitecture",
)

REG_SZ = 1
REG_U32 = 4
REG_U64 = 8

ADDR_FAMILY_NONE = 0x00
ADDR_FAMILY_IPV4 = 0x01
ADDR_FAMILY_IPV6 = 0x02

HV_S_OK = 0x00000000
HV_E_FAIL = 0x80004005
HV_S_CONT = 0x80070103
HV_ERROR_NOT_SUPPORTED = 0x80070032
HV_INVALIDARG = 0x80070057
HV_GUID_NOTFOUND = 0x80041002

HV_STATUS_NAMES = {
    HV_S_OK: "HV_S_OK",
    HV_E_FAIL: "HV_E_FAIL",
    HV_S_CONT: "HV_S_CONT",
    HV_ERROR_NOT_SUPPORTED: "HV_ERROR_NOT_SUPPORTED",
    HV_INVALIDARG: "HV_INVALIDARG",
    HV_GUID_NOTFOUND: "HV_GUID_NOTFOUND",
}

# drivers/hv/hyperv_vmbus.h: seconds after which the driver itself answers the host, with
# HV_E_FAIL.
HV_UTIL_TIMEOUT = 30

# include/uapi/linux/connector.h
CN_KVP_IDX = 0x9
CN_KVP_VAL = 0x1

# include/uapi/linux/netlink.h
NETLINK_ROUTE = 0
NETLINK_CONNECTOR = 11
NETLINK_KOBJECT_UEVENT = 15
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_GET_STRICT_CHK = 12

NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_OVERRUN = 4

NLM_F_REQUEST = 0x01
NLM_F_MULTI = 0x02
NLM_F_ACK = 0x04
NLM_F_ECHO = 0x08
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP_FILTERED = 0x20
NLM_F_ROOT = 0x100
NLM_F_MATCH = 0x200
NLM_F_DUMP = NLM_F_ROOT | NLM_F_MATCH

NLA_F_NESTED = 0x8000
NLA_F_NET_BYTEORDER = 0x4000

# include/linux/socket.h
AF_UNSPEC = 0
AF_INET = 2
AF_INET6 = 10

# include/uapi/linux/rtnetlink.h
RTM_NEWLINK = 16
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_GETROUTE = 26
RTM_NEWNEXTHOP = 104
RTM_GETNEXTHOP = 106

RTNLGRP_LINK = 1
RTNLGRP_IPV4_IFADDR = 5
RTNLGRP_IPV4_ROUTE = 7
RTNLGRP_IPV6_IFADDR = 9
RTNLGRP_IPV6_ROUTE = 11

RT_SCOPE_LINK = 253
RT_TABLE_UNSPEC = 0
RT_TABLE_MAIN = 254
RTN_UNICAST = 1

RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_MULTIPATH = 9
RTA_TABLE = 15
RTA_VIA = 18
RTA_NH_ID = 30

RTM_F_FIB_MATCH = 0x2000

RTEXT_FILTER_SKIP_STATS = 1 << 3

# include/uapi/linux/if_link.h
IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MASTER = 10
IFLA_OPERSTATE = 16
IFLA_LINKINFO = 18
IFLA_EXT_MASK = 29
IFLA_ALT_IFNAME = 53
IFLA_PERM_ADDRESS = 54

IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
IFLA_INFO_SLAVE_KIND = 4
IFLA_INFO_SLAVE_DATA = 5
IFLA_VRF_TABLE = 1
IFLA_BOND_SLAVE_PERM_HWADDR = 4

# include/uapi/linux/nexthop.h
NHA_ID = 1
NHA_GROUP = 2
NHA_OIF = 5
NHA_GATEWAY = 6

# include/uapi/linux/if_addr.h
IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_LABEL = 3
IFA_FLAGS = 8

IFA_F_DADFAILED = 0x08
IFA_F_TENTATIVE = 0x40
IFA_F_PERMANENT = 0x80

# include/uapi/linux/if.h
IFNAMSIZ = 16
ALTIFNAMSIZ = 128
IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_LOWER_UP = 1 << 16
