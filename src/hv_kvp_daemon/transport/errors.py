# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The errors of transports."""


class TransportError(Exception):
    """The transport cannot be opened here; the text says what is missing."""


class TransportLostError(Exception):
    """The peer has gone or has refused a message: close, open and register again."""
