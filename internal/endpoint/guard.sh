# ssh hands none of its options down to the ssh that it starts for a ProxyJump, and that
# of a ProxyCommand has its own. They too could ask, write known_hosts, and leave a
# master connection. So each of them is replaced by this script.
guarded='sh -c "$DOCKER_RD_SSH_GUARD" ssh'
way=
while read -r name value; do
	case $name:$value in
	proxyjump:*,*) way="$guarded -W '[%h]:%p' -o ProxyJump=${value%,*} ssh://${value##*,}" ;;
	proxyjump:*) way="$guarded -W '[%h]:%p' ssh://$value" ;;
	proxycommand:ssh\ *) way="$guarded ${value#ssh}" ;;
	esac
done <<end
$("$DOCKER_RD_SSH" $DOCKER_RD_SSH_FLAGS -G "$@" 2>/dev/null)
end
case " $*" in
*' -J'*) way= ;; # in a ProxyCommand: ssh takes no other way beside it
esac
[ -z "$way" ] || set -- -o "ProxyCommand=$way" "$@"
exec "$DOCKER_RD_SSH" $DOCKER_RD_SSH_FLAGS "$@"
