# The first process of the node: makes its mounts, starts containerd, kubelet and kube-proxy, and ends when one of them does.
set -eu
directory=$1
programs=$2
mount -t proc proc /proc
hostname "$NODE"
printf '%s\n' "$CGROUPS" | while read -r target kind options; do
    # Mounted anew inside the cgroup namespace, the root shown is the node's own.
    umount "$target"
    mount -t "$kind" -o "$options" "$kind" "$target"
done
mkdir -p /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers
mount -t tmpfs tmpfs /run/netns 2>/dev/null || { mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns; }
mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd
mount --bind "$directory/kubelet" /var/lib/kubelet
mount --bind "$directory/varlibcni" /var/lib/cni
mount --bind "$directory/podlogs" /var/log/pods
mount --bind "$directory/containerlogs" /var/log/containers
mount --make-rshared /
echo 1 > /proc/sys/net/ipv4/ip_forward
containerd --config "$directory/containerd.toml" > "$directory/containerd.log" 2>&1 &
containerd=$!
# The uplink is brought from outside; everything below needs it.
while ! ip route show default | grep -q uplink; do sleep 0.05; done
while [ ! -S /run/containerd/containerd.sock ]; do sleep 0.05; done
while [ ! -e "$directory/images-ready" ]; do sleep 0.05; done
"$programs/kubelet" --config="$directory/kubelet.json" --kubeconfig="$directory/../kubelet-${directory##*/}.kubeconfig" \
    --hostname-override="$NODE" --root-dir=/var/lib/kubelet --node-ip="$ADDRESS" \
    > "$directory/kubelet.log" 2>&1 &
kubelet=$!
"$programs/kube-proxy" --config="$directory/proxy.json" > "$directory/proxy.log" 2>&1 &
proxy=$!
while kill -0 "$containerd" && kill -0 "$kubelet" && kill -0 "$proxy"; do sleep 1; done
echo "a part of the node has ended"
exit 1
