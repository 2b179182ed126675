#!/bin/sh
# Two machines that know one another by a cable: two network namespaces, one process in each.
# usage: unshare -rn sh two_networks.sh PYTHON FOLDER ARGUMENTS_OF_STRIATE...
set -e
python=$1 folder=$2
shift 2
ip link set lo up
unshare -n sleep 100 &
other=$!
trap 'kill $other' EXIT
while [ "$(readlink /proc/$other/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do sleep 0.05; done
ip link add va type veth peer name vb
ip link set vb netns $other
ip addr add 10.77.0.1/24 dev va
ip link set va up
inside="nsenter -t $other -n"
$inside ip link set lo up
$inside ip addr add 10.77.0.2/24 dev vb
$inside ip link set vb up
torchrun="$python -m torch.distributed.run --nnodes 2 --nproc-per-node 1"
torchrun="$torchrun --master-addr 10.77.0.1 --master-port 29500"
mkdir -p "$folder/first" "$folder/second"
(cd "$folder/second" && GLOO_SOCKET_IFNAME=vb $inside $torchrun --node-rank 1 -m striate "$@") &
second=$!
cd "$folder/first"
GLOO_SOCKET_IFNAME=va $torchrun --node-rank 0 -m striate "$@"
wait $second
