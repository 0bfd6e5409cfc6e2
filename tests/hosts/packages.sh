#!/bin/sh
# Install Debian's packages for the slow tests that need them, if this process may: as root, with apt-get.
# Without them these tests are skipped by name, so nothing here is an error.
packages="iproute2 slurmctld slurmd slurm-client openmpi-bin mpich chromium"
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && command -v dpkg >/dev/null || exit 0
missing=""
for package in $packages; do
  dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
echo "apt-get install$missing (for tests of launchers, hosts and the page of a plan)"
export DEBIAN_FRONTEND=noninteractive
timeout 120 apt-get update -qq >/dev/null 2>&1
# One by one: one that this Debian lacks keeps no other out.
for package in $missing; do
  timeout 240 apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 ||
    echo "$package could not be installed; the tests that need it are skipped"
done
