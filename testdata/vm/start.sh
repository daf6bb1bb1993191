# README's first command, by an ordinary user. The machine has no Go: what it builds was built outside.
mkdir -p /vm/go
cat >/vm/go/go <<'END'
#!/bin/sh
case "$1 $2" in
"env GOVERSION") echo go1.99.0 ;;
build*) mkdir -p bin && cp /vm/bin/* bin/ ;;
esac
END
chmod 755 /vm/go/go
rm -f /usr/local/bin/docker-rd*
cp -r /vm/repo /home/ann/docker-rd
chown -R ann: /home/ann/docker-rd
expect '^Instance "default" is ready' as ann 'cd docker-rd && PATH=/vm/go:$PATH make start'
expect '^default +ready +rootless' as ann docker rd ls
as ann 'PATH=$HOME/.local/bin:$PATH docker-rd rm --force default && cd docker-rd && PATH=/vm/go:$PATH make uninstall' >/dev/null
[ -z "$(ls /home/ann/.local/bin /home/ann/.docker/cli-plugins)" ] || fail "left: $(ls /home/ann/.local/bin /home/ann/.docker/cli-plugins)"
rm -rf /home/ann/docker-rd
install -m 755 /vm/bin/* /usr/local/bin/
