#!/bin/sh

# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

# Install the packages that are in /tmp/packages, and make the machine an image.  It is a guest
# of Hyper-V itself, so its own daemon serves at once; the check has another one, with pools of
# its own and a simulated host.
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends /tmp/packages/*.deb
rm -r /tmp/packages
hv-kvp host run - <<END
set external build.check passed => HV_S_OK
get external build.check => passed
END

# Last, so that nothing sets a pair after the pools are emptied.
if command -v waagent >/dev/null; then
    waagent -force -deprovision+user
fi
systemctl stop hv-kvp.service
hv-kvp clean-image --yes
