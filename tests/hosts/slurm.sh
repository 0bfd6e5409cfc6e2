#!/usr/bin/env bash
# A real Slurm on hosts of its own: network namespaces n1, n2, … at 10.77.0.1, …, each of which knows its own name as 127.0.1.1,
# on switches s1, s2, … of two hosts each below the switch top.
#   slurm.sh start FOLDER HOSTS    prints the path for SLURM_CONF        slurm.sh stop FOLDER
# It needs root, iproute2, util-linux, and Debian's slurmctld, slurmd and slurm-client.
set -eu
dir=$2; net=10.77.0; conf=$dir/slurm.conf; host=$(hostname)
case "$1" in
start)
  n=$3; mkdir -p "$dir/log" "$dir/state"
  ip link add pgbed type bridge; ip addr add $net.254/24 dev pgbed; ip link set pgbed up
  for i in $(seq "$n"); do
    ip netns add "n$i"; ip link add "pgv$i" type veth peer name eth0 netns "n$i"; ip link set "pgv$i" master pgbed up
    ip -n "n$i" addr add "$net.$i/24" dev eth0; ip -n "n$i" link set eth0 up; ip -n "n$i" link set lo up
    { echo "127.0.0.1 localhost"; echo "$net.254 $host"; echo "127.0.1.1 n$i"
      for j in $(seq "$n"); do [ "$i" = "$j" ] || echo "$net.$j n$j"; done; } >"$dir/hosts.n$i"
  done
  {
    printf '%s\n' ClusterName=bed "SlurmctldHost=$host($net.254)" AuthType=auth/none CredType=cred/none SlurmUser=root \
      SlurmdUser=root "StateSaveLocation=$dir/state" "SlurmdSpoolDir=$dir/spool.%n" "SlurmdPidFile=$dir/slurmd.%n.pid" \
      "SlurmdLogFile=$dir/log/slurmd.%n.log" "SlurmctldPidFile=$dir/slurmctld.pid" "SlurmctldLogFile=$dir/log/ctld.log" \
      ProctrackType=proctrack/linuxproc TaskPlugin=task/none SelectType=select/linear SwitchType=switch/none \
      MpiDefault=none ReturnToService=2 SchedulerType=sched/builtin TopologyPlugin=topology/tree AccountingStorageType=accounting_storage/none \
      JobAcctGatherType=jobacct_gather/none SlurmdParameters=config_overrides
    for i in $(seq "$n"); do mkdir -p "$dir/spool.n$i"; echo "NodeName=n$i NodeHostname=n$i NodeAddr=$net.$i CPUs=4"; done
    echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE"
  } >"$conf"
  {
    for i in $(seq 1 2 "$n"); do echo "SwitchName=s$(((i + 1) / 2)) Nodes=n[$i-$((i < n ? i + 1 : n))]"; done
    echo "SwitchName=top Switches=s[1-$(((n + 1) / 2))]"
  } >"$dir/topology.conf"
  setsid slurmctld -f "$conf" -D >"$dir/log/ctld.out" 2>&1 & echo $! >"$dir/pids"
  sleep 1
  for i in $(seq "$n"); do
    enter="hostname n$i; mount --bind $dir/hosts.n$i /etc/hosts; exec slurmd -N n$i -f $conf -D"
    setsid nsenter --net="/run/netns/n$i" unshare --uts --mount sh -c "$enter" >"$dir/log/n$i.out" 2>&1 & echo $! >>"$dir/pids"
  done
  for _ in $(seq 30); do [ "$(SLURM_CONF=$conf sinfo -h -N -t idle 2>/dev/null | wc -l)" = "$n" ] && break; sleep 1; done
  echo "$conf" ;;
stop)
  [ -f "$dir/pids" ] && kill $(cat "$dir/pids") 2>/dev/null; sleep 1
  for f in "$dir"/hosts.n*; do ip netns del "${f##*.}" 2>/dev/null || true; done
  ip link del pgbed 2>/dev/null || true ;;
esac
