"""``python -m hv_kvp_daemon``: the daemon."""

from .service.main import main

raise SystemExit(main())
