/*
 * SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
 * SPDX-License-Identifier: GPL-2.0-only
 */

/*
 * An LD_PRELOAD library: opening /dev/vmbus/hv_kvp returns a duplicate of the
 * descriptor whose number is in HV_KVP_BENCH_FD, one end of a SOCK_SEQPACKET
 * pair.  The benchmark plays the driver at the other end.  No other call is
 * changed, so a daemon does everything that it would do.
 *
 * Our daemon opens by open64, or by __open64_2 where CPython was compiled with
 * _FORTIFY_SOURCE; Debian's C daemon opens by open.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef int open_function(const char *, int, ...);
typedef int checked_function(const char *, int);

static int is_device(const char *path)
{
	return strcmp(path, "/dev/vmbus/hv_kvp") == 0 && getenv("HV_KVP_BENCH_FD");
}

static int inherited(void)
{
	return fcntl(atoi(getenv("HV_KVP_BENCH_FD")), F_DUPFD_CLOEXEC, 3);
}

#define OPEN(name)                                                      \
	int name(const char *path, int flags, ...)                      \
	{                                                               \
		mode_t mode = 0;                                        \
		va_list more;                                           \
									\
		if (is_device(path))                                    \
			return inherited();                             \
		if (flags & (O_CREAT | __O_TMPFILE)) {                  \
			va_start(more, flags);                          \
			mode = va_arg(more, mode_t);                    \
			va_end(more);                                   \
		}                                                       \
		return ((open_function *)dlsym(RTLD_NEXT, #name))(path, flags, mode); \
	}

#define CHECKED_OPEN(name)                                              \
	int name(const char *path, int flags)                           \
	{                                                               \
		if (is_device(path))                                    \
			return inherited();                             \
		return ((checked_function *)dlsym(RTLD_NEXT, #name))(path, flags); \
	}

OPEN(open)
OPEN(open64)
CHECKED_OPEN(__open_2)
CHECKED_OPEN(__open64_2)
