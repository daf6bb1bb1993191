# A containerd of a user's own has the delegated control group, and its tasks have limits in it.
loginctl enable-linger ann
run='docker-rd run -- ctr'
as ann 'docker-rd start && docker-rd run -- docker import -c "CMD [\"sleep\",\"1000\"]" /var/lib/vm/busybox.tar app:1 && docker-rd run -- docker save -o app.tar app:1 && docker-rd rm --force default' >/dev/null
as ann docker-rd start --engine containerd --memory 200m >said 2>&1 || fail "start: $(cat said)"
! grep -q 'no limits' said || fail "$(cat said)"
group=$(ls -d /sys/fs/cgroup/user.slice/user-$(id -u ann).slice/user@$(id -u ann).service/app.slice/docker-rd-*.scope/docker-rd-*)
[ "$(cat "$group/memory.max")" = 209715200 ] || fail "memory.max: $(cat "$group/memory.max")"
as ann "$run images import app.tar && $run run -d --memory-limit 67108864 docker.io/library/app:1 one" >/dev/null
expect '^67108864$' sh -c "find $group -path '*one*' -name memory.max | xargs cat"
as ann docker-rd set memory=300m cpus=1.5
[ "$(cat "$group/memory.max")" = 314572800 ] || fail "memory.max: $(cat "$group/memory.max")"
[ "$(cat "$group/cpu.max")" = '150000 100000' ] || fail "cpu.max: $(cat "$group/cpu.max")"
expect '^default/one +.* Up ' as ann docker-rd get ps --fresh
as ann docker-rd rm --force default >/dev/null
as ann rm app.tar
