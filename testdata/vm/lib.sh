# What the tests share. They run as root in the machine, with sh -eu.
export DEBIAN_FRONTEND=noninteractive

fail() { echo "FAIL: $*" >&2; exit 1; }

# as USER COMMAND: in a session of the user's, as ssh makes it.
as() {
	as_user=$1
	shift
	ssh "$as_user@localhost" "$@"
}

# expect PATTERN COMMAND…: the command succeeds, and its output has a line that matches.
expect() {
	pattern=$1
	shift
	out=$("$@" 2>&1) || fail "exit status $? of $*: $out"
	printf '%s\n' "$out" | grep -Eq -- "$pattern" || fail "no /$pattern/ in what $* says: $out"
}

# refuse PATTERN COMMAND…: the command fails, and its output has a line that matches.
refuse() {
	pattern=$1
	shift
	out=$("$@" 2>&1) && fail "no failure of $*: $out"
	printf '%s\n' "$out" | grep -Eq -- "$pattern" || fail "no /$pattern/ in what $* says: $out"
}

# within SECONDS COMMAND…: the command succeeds in that time.
within() {
	until_=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt $until_ ] || fail "not in time: $*"
		sleep 0.2
	done
}

# mended PATTERN COMMAND: ann's command is refused with a line that matches; once she has run what
# the hint says, it succeeds.
mended() {
	refuse "$1" as ann "$2"
	hint=$(printf '%s\n' "$out" | sed -n 's/^hint: [^`]*`\([^`]*\)`.*/\1/p' | head -n 1)
	[ -n "$hint" ] || fail "no hint with a command: $out"
	as ann "$hint" >/dev/null || fail "the hint fails: $hint"
	as ann "$2" >said 2>&1 || fail "after $hint: $(cat said)"
}

# engine is the option for the engine to try, if that is not Debian's.
engine=
[ -z "$(ls /vm/engine)" ] || engine='--engine-path /vm/engine'
