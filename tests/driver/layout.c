/*
 * SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
 * SPDX-License-Identifier: GPL-2.0-only
 */

/*
 * The kernel's user-space API as a C compiler sees it: the table that stands
 * in tests/wire/layout.tsv.
 *
 *	struct		0	size
 *	struct.field	offset	size
 *	CONSTANT	value
 */
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <linux/connector.h>
#include <linux/hyperv.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

#define WHOLE(type) printf("%s\t0\t%zu\n", #type, sizeof(struct type))
#define FIELD(type, field)						\
	printf("%s.%s\t%zu\t%zu\n", #type, #field,			\
	       offsetof(struct type, field), sizeof(((struct type *)0)->field))
/* A flexible array has a place and no size. */
#define OPEN(type, field)						\
	printf("%s.%s\t%zu\t0\n", #type, #field, offsetof(struct type, field))
#define VALUE(name) printf("%s\t%lld\n", #name, (long long)(name))

static void hyperv(void)
{
	WHOLE(hv_kvp_hdr);
	FIELD(hv_kvp_hdr, operation);
	FIELD(hv_kvp_hdr, pool);
	FIELD(hv_kvp_hdr, pad);
	WHOLE(hv_kvp_exchg_msg_value);
	FIELD(hv_kvp_exchg_msg_value, value_type);
	FIELD(hv_kvp_exchg_msg_value, key_size);
	FIELD(hv_kvp_exchg_msg_value, value_size);
	FIELD(hv_kvp_exchg_msg_value, key);
	FIELD(hv_kvp_exchg_msg_value, value);
	FIELD(hv_kvp_exchg_msg_value, value_u32);
	FIELD(hv_kvp_exchg_msg_value, value_u64);
	WHOLE(hv_kvp_msg_get);
	WHOLE(hv_kvp_msg_set);
	WHOLE(hv_kvp_msg_delete);
	FIELD(hv_kvp_msg_delete, key_size);
	FIELD(hv_kvp_msg_delete, key);
	WHOLE(hv_kvp_msg_enumerate);
	FIELD(hv_kvp_msg_enumerate, index);
	FIELD(hv_kvp_msg_enumerate, data);
	WHOLE(hv_kvp_register);
	FIELD(hv_kvp_register, version);
	WHOLE(hv_kvp_ipaddr_value);
	FIELD(hv_kvp_ipaddr_value, adapter_id);
	FIELD(hv_kvp_ipaddr_value, addr_family);
	FIELD(hv_kvp_ipaddr_value, dhcp_enabled);
	FIELD(hv_kvp_ipaddr_value, ip_addr);
	FIELD(hv_kvp_ipaddr_value, sub_net);
	FIELD(hv_kvp_ipaddr_value, gate_way);
	FIELD(hv_kvp_ipaddr_value, dns_addr);
	WHOLE(hv_kvp_ip_msg);
	FIELD(hv_kvp_ip_msg, operation);
	FIELD(hv_kvp_ip_msg, pool);
	FIELD(hv_kvp_ip_msg, kvp_ip_val);
	WHOLE(hv_kvp_msg);
	FIELD(hv_kvp_msg, kvp_hdr);
	FIELD(hv_kvp_msg, kvp_hdr.operation);
	FIELD(hv_kvp_msg, kvp_hdr.pool);
	FIELD(hv_kvp_msg, kvp_hdr.pad);
	FIELD(hv_kvp_msg, error);
	FIELD(hv_kvp_msg, body);
	FIELD(hv_kvp_msg, body.kvp_get.data.value_type);
	FIELD(hv_kvp_msg, body.kvp_get.data.key_size);
	FIELD(hv_kvp_msg, body.kvp_get.data.value_size);
	FIELD(hv_kvp_msg, body.kvp_get.data.key);
	FIELD(hv_kvp_msg, body.kvp_get.data.value);
	FIELD(hv_kvp_msg, body.kvp_set.data.value_type);
	FIELD(hv_kvp_msg, body.kvp_set.data.key_size);
	FIELD(hv_kvp_msg, body.kvp_set.data.value_size);
	FIELD(hv_kvp_msg, body.kvp_set.data.key);
	FIELD(hv_kvp_msg, body.kvp_set.data.value);
	FIELD(hv_kvp_msg, body.kvp_set.data.value_u32);
	FIELD(hv_kvp_msg, body.kvp_set.data.value_u64);
	FIELD(hv_kvp_msg, body.kvp_delete.key_size);
	FIELD(hv_kvp_msg, body.kvp_delete.key);
	FIELD(hv_kvp_msg, body.kvp_enum_data.index);
	FIELD(hv_kvp_msg, body.kvp_enum_data.data.value_type);
	FIELD(hv_kvp_msg, body.kvp_enum_data.data.key_size);
	FIELD(hv_kvp_msg, body.kvp_enum_data.data.value_size);
	FIELD(hv_kvp_msg, body.kvp_enum_data.data.key);
	FIELD(hv_kvp_msg, body.kvp_enum_data.data.value);
	FIELD(hv_kvp_msg, body.kvp_ip_val.adapter_id);
	FIELD(hv_kvp_msg, body.kvp_ip_val.addr_family);
	FIELD(hv_kvp_msg, body.kvp_ip_val.dhcp_enabled);
	FIELD(hv_kvp_msg, body.kvp_ip_val.ip_addr);
	FIELD(hv_kvp_msg, body.kvp_ip_val.sub_net);
	FIELD(hv_kvp_msg, body.kvp_ip_val.gate_way);
	FIELD(hv_kvp_msg, body.kvp_ip_val.dns_addr);
	FIELD(hv_kvp_msg, body.kvp_register.version);

	VALUE(KVP_OP_GET);
	VALUE(KVP_OP_SET);
	VALUE(KVP_OP_DELETE);
	VALUE(KVP_OP_ENUMERATE);
	VALUE(KVP_OP_GET_IP_INFO);
	VALUE(KVP_OP_SET_IP_INFO);
	VALUE(KVP_OP_COUNT);
	VALUE(KVP_OP_REGISTER);
	VALUE(KVP_OP_REGISTER1);
	VALUE(KVP_POOL_EXTERNAL);
	VALUE(KVP_POOL_GUEST);
	VALUE(KVP_POOL_AUTO);
	VALUE(KVP_POOL_AUTO_EXTERNAL);
	VALUE(KVP_POOL_AUTO_INTERNAL);
	VALUE(KVP_POOL_COUNT);
	VALUE(HV_KVP_EXCHANGE_MAX_KEY_SIZE);
	VALUE(HV_KVP_EXCHANGE_MAX_VALUE_SIZE);
	VALUE(MAX_ADAPTER_ID_SIZE);
	VALUE(MAX_IP_ADDR_SIZE);
	VALUE(MAX_GATEWAY_SIZE);
	VALUE(ADDR_FAMILY_NONE);
	VALUE(ADDR_FAMILY_IPV4);
	VALUE(ADDR_FAMILY_IPV6);
	VALUE(REG_SZ);
	VALUE(REG_U32);
	VALUE(REG_U64);
	VALUE(HV_S_OK);
	VALUE(HV_E_FAIL);
	VALUE(HV_S_CONT);
	VALUE(HV_ERROR_NOT_SUPPORTED);
	VALUE(HV_ERROR_MACHINE_LOCKED);
	VALUE(HV_ERROR_DEVICE_NOT_CONNECTED);
	VALUE(HV_INVALIDARG);
	VALUE(HV_GUID_NOTFOUND);
	VALUE(HV_ERROR_ALREADY_EXISTS);
	VALUE(HV_ERROR_DISK_FULL);
}

static void connector(void)
{
	WHOLE(cb_id);
	FIELD(cb_id, idx);
	FIELD(cb_id, val);
	WHOLE(cn_msg);
	FIELD(cn_msg, id.idx);
	FIELD(cn_msg, id.val);
	FIELD(cn_msg, seq);
	FIELD(cn_msg, ack);
	FIELD(cn_msg, len);
	FIELD(cn_msg, flags);
	OPEN(cn_msg, data);

	VALUE(CN_IDX_PROC);
	VALUE(CN_VAL_PROC);
	VALUE(CN_KVP_IDX);
	VALUE(CN_KVP_VAL);
	VALUE(CN_VSS_IDX);
	VALUE(CN_VSS_VAL);
	VALUE(CONNECTOR_MAX_MSG_SIZE);
}

static void netlink(void)
{
	WHOLE(sockaddr_nl);
	FIELD(sockaddr_nl, nl_family);
	FIELD(sockaddr_nl, nl_pad);
	FIELD(sockaddr_nl, nl_pid);
	FIELD(sockaddr_nl, nl_groups);
	WHOLE(nlmsghdr);
	FIELD(nlmsghdr, nlmsg_len);
	FIELD(nlmsghdr, nlmsg_type);
	FIELD(nlmsghdr, nlmsg_flags);
	FIELD(nlmsghdr, nlmsg_seq);
	FIELD(nlmsghdr, nlmsg_pid);
	WHOLE(nlmsgerr);
	FIELD(nlmsgerr, error);
	FIELD(nlmsgerr, msg);
	WHOLE(nl_pktinfo);
	FIELD(nl_pktinfo, group);

	VALUE(AF_UNSPEC);
	VALUE(AF_INET);
	VALUE(AF_INET6);
	VALUE(AF_NETLINK);
	VALUE(AF_PACKET);
	VALUE(SOL_NETLINK);
	VALUE(NETLINK_ROUTE);
	VALUE(NETLINK_CONNECTOR);
	VALUE(NETLINK_KOBJECT_UEVENT);
	VALUE(NETLINK_ADD_MEMBERSHIP);
	VALUE(NETLINK_DROP_MEMBERSHIP);
	VALUE(NETLINK_PKTINFO);
	VALUE(NETLINK_NO_ENOBUFS);
	VALUE(NETLINK_EXT_ACK);
	VALUE(NETLINK_GET_STRICT_CHK);
	VALUE(NETLINK_GET_STRICT_CHK);
	VALUE(NLM_F_REQUEST);
	VALUE(NLM_F_MULTI);
	VALUE(NLM_F_ACK);
	VALUE(NLM_F_ECHO);
	VALUE(NLM_F_DUMP_INTR);
	VALUE(NLM_F_DUMP_FILTERED);
	VALUE(NLM_F_ROOT);
	VALUE(NLM_F_MATCH);
	VALUE(NLM_F_ATOMIC);
	VALUE(NLM_F_DUMP);
	VALUE(NLM_F_REPLACE);
	VALUE(NLM_F_EXCL);
	VALUE(NLM_F_CREATE);
	VALUE(NLM_F_APPEND);
	VALUE(NLM_F_CAPPED);
	VALUE(NLM_F_ACK_TLVS);
	VALUE(NLMSG_ALIGNTO);
	VALUE(NLMSG_HDRLEN);
	VALUE(NLMSG_NOOP);
	VALUE(NLMSG_ERROR);
	VALUE(NLMSG_DONE);
	VALUE(NLMSG_OVERRUN);
	VALUE(NLMSG_MIN_TYPE);
	VALUE(NLA_F_NESTED);
	VALUE(NLA_F_NET_BYTEORDER);
	VALUE(NLA_TYPE_MASK);
	VALUE(NLA_ALIGNTO);
}

static void rtnetlink(void)
{
	WHOLE(rtattr);
	FIELD(rtattr, rta_len);
	FIELD(rtattr, rta_type);
	WHOLE(rtgenmsg);
	FIELD(rtgenmsg, rtgen_family);
	WHOLE(ifinfomsg);
	FIELD(ifinfomsg, ifi_family);
	FIELD(ifinfomsg, ifi_type);
	FIELD(ifinfomsg, ifi_index);
	FIELD(ifinfomsg, ifi_flags);
	FIELD(ifinfomsg, ifi_change);
	WHOLE(ifaddrmsg);
	FIELD(ifaddrmsg, ifa_family);
	FIELD(ifaddrmsg, ifa_prefixlen);
	FIELD(ifaddrmsg, ifa_flags);
	FIELD(ifaddrmsg, ifa_scope);
	FIELD(ifaddrmsg, ifa_index);
	WHOLE(rtmsg);
	FIELD(rtmsg, rtm_family);
	FIELD(rtmsg, rtm_dst_len);
	FIELD(rtmsg, rtm_src_len);
	FIELD(rtmsg, rtm_tos);
	FIELD(rtmsg, rtm_table);
	FIELD(rtmsg, rtm_protocol);
	FIELD(rtmsg, rtm_scope);
	FIELD(rtmsg, rtm_type);
	FIELD(rtmsg, rtm_flags);
	WHOLE(rtnexthop);
	FIELD(rtnexthop, rtnh_len);
	FIELD(rtnexthop, rtnh_flags);
	FIELD(rtnexthop, rtnh_hops);
	FIELD(rtnexthop, rtnh_ifindex);
	WHOLE(rtvia);
	FIELD(rtvia, rtvia_family);
	OPEN(rtvia, rtvia_addr);

	WHOLE(nhmsg);
	FIELD(nhmsg, nh_family);
	FIELD(nhmsg, nh_scope);
	FIELD(nhmsg, nh_protocol);
	FIELD(nhmsg, resvd);
	FIELD(nhmsg, nh_flags);
	WHOLE(nexthop_grp);
	FIELD(nexthop_grp, id);

	VALUE(RTM_NEWLINK);
	VALUE(RTM_GETLINK);
	VALUE(RTM_NEWADDR);
	VALUE(RTM_DELADDR);
	VALUE(RTM_GETADDR);
	VALUE(RTM_NEWROUTE);
	VALUE(RTM_GETROUTE);
	VALUE(RTM_NEWNEXTHOP);
	VALUE(RTM_GETNEXTHOP);
	VALUE(RTMGRP_LINK);
	VALUE(RTMGRP_IPV4_IFADDR);
	VALUE(RTMGRP_IPV4_ROUTE);
	VALUE(RTMGRP_IPV6_IFADDR);
	VALUE(RTMGRP_IPV6_ROUTE);
	VALUE(RTNLGRP_LINK);
	VALUE(RTNLGRP_IPV4_IFADDR);
	VALUE(RTNLGRP_IPV4_ROUTE);
	VALUE(RTNLGRP_IPV6_IFADDR);
	VALUE(RTNLGRP_IPV6_ROUTE);
	VALUE(RTA_ALIGNTO);
	VALUE(RTNH_ALIGNTO);
	VALUE(RTEXT_FILTER_SKIP_STATS);

	VALUE(IFLA_ADDRESS);
	VALUE(IFLA_BROADCAST);
	VALUE(IFLA_IFNAME);
	VALUE(IFLA_MTU);
	VALUE(IFLA_LINK);
	VALUE(IFLA_STATS);
	VALUE(IFLA_MASTER);
	VALUE(IFLA_OPERSTATE);
	VALUE(IFLA_LINKINFO);
	VALUE(IFLA_IFALIAS);
	VALUE(IFLA_EXT_MASK);
	VALUE(IFLA_GROUP);
	VALUE(IFLA_CARRIER);
	VALUE(IFLA_PROP_LIST);
	VALUE(IFLA_ALT_IFNAME);
	VALUE(IFLA_PERM_ADDRESS);
	VALUE(IFLA_PARENT_DEV_NAME);
	VALUE(IFLA_INFO_KIND);
	VALUE(IFLA_INFO_DATA);
	VALUE(IFLA_INFO_SLAVE_KIND);
	VALUE(IFLA_INFO_SLAVE_DATA);
	VALUE(IFLA_VRF_TABLE);
	VALUE(IFLA_BOND_SLAVE_PERM_HWADDR);
	VALUE(NHA_ID);
	VALUE(NHA_GROUP);
	VALUE(NHA_OIF);
	VALUE(NHA_GATEWAY);

	VALUE(IFA_ADDRESS);
	VALUE(IFA_LOCAL);
	VALUE(IFA_LABEL);
	VALUE(IFA_BROADCAST);
	VALUE(IFA_ANYCAST);
	VALUE(IFA_CACHEINFO);
	VALUE(IFA_FLAGS);
	VALUE(IFA_RT_PRIORITY);
	VALUE(IFA_PROTO);
	VALUE(IFA_F_SECONDARY);
	VALUE(IFA_F_TEMPORARY);
	VALUE(IFA_F_NODAD);
	VALUE(IFA_F_OPTIMISTIC);
	VALUE(IFA_F_DADFAILED);
	VALUE(IFA_F_HOMEADDRESS);
	VALUE(IFA_F_DEPRECATED);
	VALUE(IFA_F_TENTATIVE);
	VALUE(IFA_F_PERMANENT);

	VALUE(RTA_DST);
	VALUE(RTA_SRC);
	VALUE(RTA_IIF);
	VALUE(RTA_OIF);
	VALUE(RTA_GATEWAY);
	VALUE(RTA_PRIORITY);
	VALUE(RTA_PREFSRC);
	VALUE(RTA_METRICS);
	VALUE(RTA_MULTIPATH);
	VALUE(RTA_CACHEINFO);
	VALUE(RTA_TABLE);
	VALUE(RTA_VIA);
	VALUE(RTA_PREF);
	VALUE(RTA_EXPIRES);
	VALUE(RTA_NH_ID);
	VALUE(RTN_UNSPEC);
	VALUE(RTN_UNICAST);
	VALUE(RTN_LOCAL);
	VALUE(RTN_BROADCAST);
	VALUE(RTN_BLACKHOLE);
	VALUE(RTN_UNREACHABLE);
	VALUE(RTN_PROHIBIT);
	VALUE(RTPROT_UNSPEC);
	VALUE(RTPROT_KERNEL);
	VALUE(RTPROT_BOOT);
	VALUE(RTPROT_STATIC);
	VALUE(RTPROT_RA);
	VALUE(RTPROT_DHCP);
	VALUE(RT_SCOPE_UNIVERSE);
	VALUE(RT_SCOPE_SITE);
	VALUE(RT_SCOPE_LINK);
	VALUE(RT_SCOPE_HOST);
	VALUE(RT_SCOPE_NOWHERE);
	VALUE(RT_TABLE_UNSPEC);
	VALUE(RT_TABLE_DEFAULT);
	VALUE(RT_TABLE_MAIN);
	VALUE(RT_TABLE_LOCAL);
	VALUE(RTNH_F_DEAD);
	VALUE(RTNH_F_ONLINK);
	VALUE(RTNH_F_LINKDOWN);
	VALUE(RTM_F_CLONED);
	VALUE(RTM_F_FIB_MATCH);

	VALUE(IFNAMSIZ);
	VALUE(ALTIFNAMSIZ);
	VALUE(IFF_UP);
	VALUE(IFF_LOOPBACK);
	VALUE(IFF_POINTOPOINT);
	VALUE(IFF_RUNNING);
	VALUE(IFF_NOARP);
	VALUE(IFF_SLAVE);
	VALUE(IFF_LOWER_UP);
	VALUE(IF_OPER_UNKNOWN);
	VALUE(IF_OPER_DOWN);
	VALUE(IF_OPER_DORMANT);
	VALUE(IF_OPER_UP);
}

int main(void)
{
	hyperv();
	connector();
	netlink();
	rtnetlink();
	return 0;
}
