#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#   hold_node.sh NAME FOLDER
# The process that keeps a node's namespaces. Started inside them (network, mount, UTS, cgroup), it gives the node its own
# view of the file system, in which the paths that charts, CNI and kubelet know by default are the node's alone. All these
# mounts end with the node's last process.
set -euo pipefail
name=$1 folder=$2
hostname "$name"

# sysfs shows the network namespace in which it was mounted; cgroup file systems show the cgroup namespace's root.
mapfile -t hierarchies < <(awk '$3 ~ /^cgroup2?$/ {print $2, $3, $4}' /proc/mounts)
umount --lazy --recursive /sys # else programs that read the list of mounts find those of the machine first
mount -t sysfs sysfs /sys
if [ "${hierarchies[0]%% *}" != /sys/fs/cgroup ]; then # the machine has more than cgroup2
    mount -t tmpfs -o mode=755 cgroups /sys/fs/cgroup
fi
for hierarchy in "${hierarchies[@]}"; do
    read -r point kind options <<<"$hierarchy"
    mkdir -p "$point"
    if [ "$kind" = cgroup2 ]; then
        mount -t cgroup2 cgroup2 "$point"
    else # what is left of its options names the controllers
        controllers=$(tr , '\n' <<<"$options" | grep -vxE 'rw|ro|nosuid|nodev|noexec|relatime|xattr' | paste -sd,)
        [[ $controllers == name=* ]] && controllers=none,$controllers
        mount -t cgroup -o "$controllers" cgroup "$point"
    fi
done
mount -t bpf bpf /sys/fs/bpf

mount -t tmpfs -o mode=755 run /run
mkdir -p /run/netns /run/lock /run/containerd
while read -r own point; do
    mkdir -p "$folder/$own"
    mount --bind "$folder/$own" "$point"
done <"$folder/mounts"

mount --make-rshared / # as systemd has it: without, hostPath volumes with mountPropagation are refused
touch "$folder/held"
exec sleep infinity
