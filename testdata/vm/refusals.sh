# What an ordinary user's engine lacks is named before anything is changed, and the hint mends it.
again() { as ann docker-rd rm --force default >/dev/null 2>&1 || true; }

sysctl -q kernel.unprivileged_userns_clone=0
mended '^an ordinary user can make no user namespaces here: ' docker-rd\ start
[ "$(sysctl -n kernel.unprivileged_userns_clone)" = 1 ] || fail 'the sysctl is still 0'
# The kernel's overlayfs works in a user namespace here, and AppArmor does not matter.
expect '^overlay2 ' as ann "docker-rd run -- docker info -f '{{.Driver}} {{.SecurityOptions}}'"
as ann "docker-rd run -- docker import -c 'CMD [\"sleep\",\"1000\"]' /var/lib/vm/busybox.tar app && docker-rd run -- docker run --rm app true" >/dev/null
again

sysctl -q user.max_user_namespaces=0
mended '^an ordinary user can make no user namespaces here: user.max_user_namespaces is 0' docker-rd\ start
again

# Programs. What apt-get installs is in its cache: the machine has no network.
dpkg --remove --force-depends uidmap slirp4netns iptables >/dev/null
mended '^missing: newuidmap, newgidmap, iptables, slirp4netns' docker-rd\ start
again

# Somebody else's ids, and none.
cp /etc/subuid /vm/subuid
start=$(sed -n 's/^ann:\([0-9]*\):.*/\1/p' /etc/subuid)
sed -i "s/^bob:.*/bob:$((start + 65535)):65536/" /etc/subuid
mended "overlap those of bob: the range that begins with $start\$" docker-rd\ start
again
mv /vm/subuid /etc/subuid
cp /etc/subgid /vm/subgid
sed -i '/^ann:/d' /etc/subuid /etc/subgid
mended 'ann has 0 user ids for containers in /etc/subuid, .* 0 group ids' docker-rd\ start
again

# Twice the same.
sed -n '/^ann:/p' /etc/subgid >/vm/twice
cat /vm/twice >>/etc/subgid
mended 'ann has group ids twice in /etc/subgid: ' docker-rd\ start
again

# NFS.
mkdir -p /srv/nfs/ann /mnt/nfs
chown ann /srv/nfs/ann
echo '/srv/nfs localhost(rw,no_root_squash,insecure,fsid=0)' >/etc/exports
systemctl start nfs-server
mount -t nfs localhost:/ /mnt/nfs
refuse '^data directory "/mnt/nfs/ann/rd/.*" is on NFS' as ann DOCKER_RD_HOME=/mnt/nfs/ann/rd docker-rd start
[ -z "$(ls /srv/nfs/ann)" ] || fail "left: $(ls /srv/nfs/ann)"
umount /mnt/nfs
systemctl stop nfs-server

# su leaves XDG_RUNTIME_DIR out, and there is no session of ann's. The hint's command has her systemd linger.
within 120 sh -c "! systemctl is-active user@$(id -u ann)"
refuse '^no directory for sockets: XDG_RUNTIME_DIR is not set' as root "su - ann -c 'docker-rd start'"
hint=$(printf '%s\n' "$out" | sed -n 's/^hint: [^`]*`\([^`]*\)`.*/\1/p')
as root "su - ann -c '$hint'"
within 60 test -S "/run/user/$(id -u ann)/bus"
as root "su - ann -c 'docker-rd start'" >said 2>&1 || fail "$(cat said)"
! grep -q 'no limits' said || fail "$(cat said)"
expect '^ Cgroup Driver: cgroupfs$' as root "su - ann -c 'docker-rd run -- docker info'"
as root "su - ann -c 'docker-rd rm --force default'" >/dev/null
