# Engines start with the system: root's by a system unit, ann's by her systemd.
loginctl enable-linger ann
docker-rd start >/dev/null
docker-rd set autostart=true
as ann 'docker-rd start && docker-rd set autostart=true' >/dev/null
for who in root ann; do
	as $who "docker-rd run -- docker import -c 'CMD [\"sleep\",\"100000\"]' /var/lib/vm/busybox.tar app && docker-rd run -- docker run -d --restart always --name keep app" >/dev/null
done
### reboot
docker='docker-rd run --no-start -- docker'
for who in root ann; do
	within 300 as $who docker-rd wait --for Ready --timeout 60s
	within 60 as $who "$docker inspect -f '{{.State.Running}}' keep | grep true"
done
expect '^active$' systemctl is-active docker-rd-default
expect '^active$' as ann systemctl --user is-active docker-rd-default
expect '^cgroupfs$' as ann "$docker info -f '{{.CgroupDriver}}'"

# systemctl stop is a clean stop.
systemctl stop docker-rd-default
as ann systemctl --user stop docker-rd-default
for who in root ann; do
	expect '^Instance: .*stopped' as $who docker-rd status
	! pgrep -u $who -x 'dockerd|containerd|slirp4netns|docker-rd.*' >/dev/null || fail "left: $(pgrep -a -u $who -x 'dockerd|containerd|slirp4netns|docker-rd.*')"
done
expect '^inactive$' sh -c 'systemctl is-active docker-rd-default || true'

# Without lingering a user's instance is there from the first session to the last.
loginctl disable-linger ann
within 120 sh -c "! systemctl is-active user@$(id -u ann)"
expect 'hint: `sudo loginctl enable-linger ann`' as ann 'docker-rd set autostart=false && docker-rd set autostart=true'
within 120 sh -c "! systemctl is-active user@$(id -u ann)"
as ann 'docker-rd wait --for Ready --timeout 120s && systemctl --user is-active docker-rd-default' >/dev/null
within 120 sh -c '! pgrep -u ann -x "dockerd|docker-rd.*"'
docker-rd rm --force default >/dev/null
as ann docker-rd rm --force default >/dev/null
