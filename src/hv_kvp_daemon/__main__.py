"""``python -m hv_kvp_daemon``: the daemon."""

from .cli.daemon import main

raise SystemExit(main())
