# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``python -m hv_kvp_daemon``: the daemon."""

from .service.main import main

raise SystemExit(main())
