# Where systemd gives a user control groups, containers and the instance have real limits.
uid=$(id -u ann)
groups=/sys/fs/cgroup/user.slice/user-$uid.slice/user@$uid.service
docker='docker-rd run -- docker'
loaded() { as ann "$docker import -c 'CMD [\"sleep\",\"1000\"]' /var/lib/vm/busybox.tar app" >/dev/null; }
value() { cat "$groups"/app.slice/docker-rd-*.scope/docker-rd-*/"$1"; }

# Without lingering: no limits, which is said with the command that mends it.
as ann docker-rd start $engine 2>said || fail "start: $(cat said)"
grep -q '^note: containers have no limits of memory and processors, .* ends with the last session' said || fail "$(cat said)"
hint=$(sed -n 's/^hint: `\(sudo loginctl enable-linger ann\)`.*/\1/p' said)
[ -n "$hint" ] || fail "no hint: $(cat said)"
expect '^Lacks: .*no limits' as ann docker-rd status
loaded
expect '^none$' as ann "$docker info -f '{{.CgroupDriver}}'"
refuse "^the rootless driver supports no limits here: .*last session" as ann docker-rd set memory=200m
as ann "$hint"
expect '^Lacks: .*after the next start' as ann docker-rd status
refuse 'after the next start' as ann docker-rd set memory=200m

as ann docker-rd restart 2>said || fail "restart: $(cat said)"
! grep -q 'no limits' said || fail "$(cat said)"
[ -z "$(as ann docker-rd status | grep Lacks)" ] || fail "$(as ann docker-rd status)"
expect '^cgroupfs 2$' as ann "$docker info -f '{{.CgroupDriver}} {{.CgroupVersion}}'"
expect '^true$' as ann 'jq .engine.rootless "$(docker-rd paths state)"'
as ann "$docker run -d --name one -m 64m --cpus 0.5 --pids-limit 20 app" >/dev/null
expect '^67108864$' as ann "$docker exec one cat /sys/fs/cgroup/memory.max"
expect '^50000 100000$' as ann "$docker exec one cat /sys/fs/cgroup/cpu.max"
expect '^20$' as ann "$docker exec one cat /sys/fs/cgroup/pids.max"
expect '/ 64MiB 1$' as ann "$docker stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' one"
expect '^137$' as ann "$docker run --rm -m 32m app dd if=/dev/zero of=/dev/null bs=200M count=1; echo \$?"
expect 'sleep 1000' as ann "$docker top one"
as ann "$docker pause one && $docker unpause one" >/dev/null

# The instance's own, while it runs.
as ann docker-rd set memory=200m cpus=1.5 pids-limit=30
[ "$(value containers/memory.max)" = 209715200 ] || fail "memory.max: $(value containers/memory.max)"
[ "$(value containers/pids.max)" = 30 ] || fail "pids.max: $(value containers/pids.max)"
[ "$(value cpu.max)" = '150000 100000' ] || fail "cpu.max: $(value cpu.max)"
expect '^137$' as ann "$docker run --rm app dd if=/dev/zero of=/dev/null bs=400M count=1; echo \$?"
as ann docker-rd set memory= pids-limit=
[ "$(value containers/memory.max)" = max ] || fail "memory.max: $(value containers/memory.max)"
systemctl --user -M ann@ daemon-reload
[ "$(value cpu.max)" = '150000 100000' ] || fail "cpu.max after a reload: $(value cpu.max)"

# It outlives the session, and leaves none behind.
within 20 sh -c "! loginctl list-sessions --no-legend | grep ' ann ' | grep -qv manager"
expect '^running$' as ann "$docker inspect -f '{{.State.Status}}' one"
# A crash: the scope goes with it, and the next engine has another.
before=$(ls -d "$groups"/app.slice/docker-rd-*.scope)
kill -KILL "$(pgrep -u ann -x docker-rd-init)"
within 60 as ann docker-rd wait --for EngineReady --timeout 1s
within 60 as ann "$docker start one"
[ "$(value cpu.max)" = '150000 100000' ] || fail "cpu.max after a crash: $(value cpu.max)"
expect '^67108864$' as ann "$docker exec one cat /sys/fs/cgroup/memory.max"
as ann docker-rd stop >/dev/null
within 20 sh -c "! ls -d $groups/app.slice/docker-rd-* 2>/dev/null"
