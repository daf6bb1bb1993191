# ssh hands none of its options down to the ssh that it starts for a ProxyJump, and that
# of a ProxyCommand has its own. They too could ask, write known_hosts, and leave a
# master connection. So each of them is replaced by this script, whose $0 is the ssh.
export DOCKER_RD_SSH="$0"
guarded='sh -c "$DOCKER_RD_SSH_GUARD"'
way= skip=
while read -r name value; do
	case $name in
	proxyjump)
		# As ssh does it. User, host and port are given apart: in a URL ssh takes no address.
		way="$guarded \"\$DOCKER_RD_SSH\" -W '[%h]:%p'"
		case $value in *,*) way="$way -o ProxyJump=${value%,*}" ;; esac
		value=${value##*,}
		case $value in *@*) way="$way -l '${value%@*}'" ;; esac
		value=${value##*@}
		case $value in
		*\]) ;;
		*:*) way="$way -p ${value##*:}" value=${value%:*} ;;
		esac
		value=${value#\[}
		way="$way ${value%\]}"
		;;
	proxycommand)
		case ${value%% *} in
		ssh | */ssh) way="$guarded $value" ;;
		esac
		;;
	esac
done <<end
$("$0" $DOCKER_RD_SSH_FLAGS -G "$@" 2>/dev/null)
end
if [ -n "$way" ]; then
	# -J is left out: ssh takes no ProxyCommand beside it, and this one does the same.
	for arg; do
		shift
		case $skip$arg in
		-J) skip=next ;;
		-J* | next*) skip= ;;
		*) set -- "$@" "$arg" ;;
		esac
	done
	set -- -o "ProxyCommand=$way" "$@"
fi
exec "$0" $DOCKER_RD_SSH_FLAGS "$@"
