# Root's instances have limits on control groups of version 2, changed while they run.
docker='docker-rd run -- docker'
docker-rd start $engine --timeout 10m --memory 200m >said 2>&1 || fail "$(cat said)"
uid=$(docker-rd status --format '{{.UID}}')
group=/sys/fs/cgroup/docker-rd-$uid
[ "$(cat $group/containers/memory.max)" = 209715200 ] || fail "memory.max: $(cat $group/containers/memory.max)"
$docker import -c 'CMD ["sleep","1000"]' /var/lib/vm/busybox.tar app >/dev/null
expect '^cgroupfs 2$' $docker info -f '{{.CgroupDriver}} {{.CgroupVersion}}'
$docker run -d --name one -m 64m --cpus 0.5 --pids-limit 20 app >/dev/null
expect '^67108864$' $docker exec one cat /sys/fs/cgroup/memory.max
expect '^50000 100000$' $docker exec one cat /sys/fs/cgroup/cpu.max
expect '/ 64MiB 1$' $docker stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' one
docker-rd set cpus=1.5 pids-limit=30 memory=300m
[ "$(cat $group/containers/memory.max)" = 314572800 ] || fail "memory.max: $(cat $group/containers/memory.max)"
[ "$(cat $group/containers/pids.max)" = 30 ] || fail "pids.max: $(cat $group/containers/pids.max)"
[ "$(cat $group/cpu.max)" = '150000 100000' ] || fail "cpu.max: $(cat $group/cpu.max)"
status=0
$docker run --rm app dd if=/dev/zero of=/dev/null bs=600M count=1 2>/dev/null || status=$?
[ $status -eq 137 ] || fail "what takes more memory than there is ends with $status"
systemctl daemon-reload
[ "$(cat $group/cpu.max)" = '150000 100000' ] || fail "cpu.max after a reload: $(cat $group/cpu.max)"
# AppArmor: root's containers are confined, as those of any dockerd of root's.
[ "$(cat /sys/module/apparmor/parameters/enabled)" = Y ] || fail 'there is no AppArmor here'
expect 'name=apparmor' $docker info -f '{{.SecurityOptions}}'
expect '^docker-default \(enforce\)$' $docker exec one cat /proc/1/attr/current
docker-rd rm --force default >/dev/null
[ ! -e $group ] || fail "left: $group"
