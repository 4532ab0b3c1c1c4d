"""What holds for every test: no limit that a busy machine breaks, and signals as usual."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# A generated example may take any time.  The blob repeats a failure on another machine.
settings.register_profile(
    "hv-kvp", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("hv-kvp")

# Under nohup, or in a shell's background, SIGINT is ignored, and a process that is started
# inherits that.  A signal that is caught here is back at its default after exec, so that
# commands under test can be interrupted, and the tests themselves still are not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda *_: None)
