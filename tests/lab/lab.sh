#!/usr/bin/env bash
# A network of hosts on one machine: each host is a network namespace, all are on one bridge, nothing reaches the outside.
#
#   lab.sh up N                    hosts 1..N (at most 250); those that exist stay
#   lab.sh down                    ends what runs inside and removes what `up` made, nothing else
#   lab.sh exec I COMMAND...       runs COMMAND in host I
#   lab.sh bg I COMMAND...         the same in the background; prints its pid, its output goes to $LAB_RUN/PID.log
#   lab.sh loss I PERCENT [in|out|both]    drops UDP at random at host I; 0 ends it
#   lab.sh delay I MS [JITTER [OVERTAKE [TWICE]]]    UDP to and from host I takes MS +- JITTER milliseconds each way; of a hundred
#                                  datagrams OVERTAKE take none, TWICE arrive twice; 0 ends it. Goes before `loss`
#   lab.sh link I up|down          plugs or unplugs host I
#   lab.sh address I add|del ADDRESS/LENGTH    gives host I another address, or takes one away
#   lab.sh remove I                host I vanishes with its interface
#   lab.sh snoop on|off            IGMP and MLD snooping of the bridge (off at first: it floods)
#   lab.sh show                    the hosts and what the bridge knows of their groups
#   lab.sh alone COMMAND...        runs COMMAND in network and mount namespaces of its own, where all of the above works
#                                  without root, and vanishes with COMMAND
#
# Host I: interface eth0, 10.77.0.I/24, fd77::I/64, fe80::I/64 (I in hexadecimal for IPv6), routes for multicast on eth0.
# Inside a host, lo carries IPv6 multicast as well. LAB=name names another lab beside this one.
set -euo pipefail

LAB=${LAB:-antiphon}
LAB_RUN=${LAB_RUN:-${TMPDIR:-/tmp}/lab-$LAB-$(id -u)}
SWITCH=$LAB-switch
PATH=$PATH:/usr/sbin:/sbin

fail() { echo "lab.sh: $*" >&2; exit 1; }
usage() { sed -n '2,23p' "$0" >&2; exit 2; }
inside() { local name=$1; shift; ip netns exec "$name" "$@"; }
exists() { [ -e "/run/netns/$1" ]; }

# The namespace of host I.
host() {
  [[ ${1:-} =~ ^[0-9]+$ ]] || fail "a host is a number, not '${1:-}'"
  exists "$LAB-$1" || fail "host $1 is not up"
  echo "$LAB-$1"
}

ours() { ls /run/netns 2>/dev/null | grep -xE "$LAB-([0-9]+|switch)" || true; }

up() {
  [[ ${1:-} =~ ^[0-9]+$ ]] && [ "$1" -ge 1 ] && [ "$1" -le 250 ] || fail "up N, with N in 1..250"
  [ "$(id -u)" = 0 ] || [ -n "${LAB_ALONE:-}" ] || fail "this needs root; without it: lab.sh alone COMMAND..."
  mkdir -p "$LAB_RUN"
  exists "$SWITCH" || add_switch
  local i
  for ((i = 1; i <= $1; i++)); do
    exists "$LAB-$i" || add_host "$i"
  done
  for ((i = 1; i <= $1; i++)); do
    [ -e "$LAB_RUN/wire$i.pid" ] || forwards "port$i"
  done
}

# Waits until the switch forwards what comes to a port: the kernel notices a new link in its own time, up to a second and more.
forwards() {
  local tries
  for ((tries = 0; tries < 500; tries++)); do
    ! bridge -n "$SWITCH" link show dev "$1" | grep -q 'state forwarding' || return 0
    sleep 0.02
  done
  fail "the switch does not forward from $1"
}

add_switch() {
  ip netns add "$SWITCH"
  # The switch itself takes no part in IPv6.
  inside "$SWITCH" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
  ip -n "$SWITCH" link set lo up
  ip -n "$SWITCH" link add name bridge0 type bridge forward_delay 0 mcast_snooping 0
  ip -n "$SWITCH" link set bridge0 up
}

add_host() {
  local name=$LAB-$1 i=$1 hex
  rm -f "$LAB_RUN/wire$1.pid"
  hex=$(printf '%x' "$1")
  ip netns add "$name"
  # No duplicate address detection: it would keep IPv6 silent for a second or two. More memberships than the default 20.
  inside "$name" sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv4.igmp_max_memberships=256
  ip -n "$SWITCH" link add name "port$i" type veth peer name eth0 netns "$name"
  ip -n "$SWITCH" link set "port$i" master bridge0 up
  ip -n "$name" -batch - <<BATCH
link set lo up
link set eth0 addrgenmode none
addr add 10.77.0.$i/24 dev eth0
addr add fd77::$hex/64 dev eth0 nodad
addr add fe80::$hex/64 dev eth0 nodad
link set eth0 up
route add 224.0.0.0/4 dev eth0
route add local ff00::/8 dev lo metric 2048
BATCH
}

# A wire that takes time is a program between the host's port and another one, `far`, which is on the bridge in its place.
delay() {
  local name log
  name=$(host "${1:-}")
  [[ "${2:-} ${3:-0} ${4:-0} ${5:-0}" =~ ^[0-9]+\ [0-9]+\ [0-9]+\ [0-9]+$ ]] || fail "delay I MS [JITTER [OVERTAKE [TWICE]]], in whole numbers"
  # It takes frames before they are lost.
  ! inside "$SWITCH" nft list table netdev "loss$1" >/dev/null 2>&1 || fail "host $1 loses what leaves: delay comes before loss"
  shorten "$1"
  [ "$2 ${3:-0} ${4:-0} ${5:-0}" != "0 0 0 0" ] || return 0
  ip -n "$SWITCH" link add name "far$1" type veth peer name "wire$1"
  ip -n "$SWITCH" link set "wire$1" up
  ip -n "$SWITCH" link set "port$1" nomaster
  log=$LAB_RUN/wire$1.log
  exec 3>"$log"
  ip netns exec "$SWITCH" python3 "$(dirname "$0")/wire.py" "port$1" "wire$1" "$2" "${3:-0}" "${4:-0}" "${5:-0}" </dev/null >&3 2>&3 &
  echo $! >"$LAB_RUN/wire$1.pid"
  until grep -q ready "$log"; do
    kill -0 $! 2>/dev/null || fail "the wire of host $1: $(cat "$log")"
    sleep 0.02
  done
  ip -n "$SWITCH" link set "far$1" master bridge0 up
  forwards "far$1"
}

# The wire takes no time any more.
shorten() {
  [ -e "$LAB_RUN/wire$1.pid" ] || return 0
  kill -KILL "$(cat "$LAB_RUN/wire$1.pid")" 2>/dev/null || true
  rm "$LAB_RUN/wire$1.pid"
  ip -n "$SWITCH" link del "far$1"
  # It has gone with its host when that was removed.
  ! ip -n "$SWITCH" link set "port$1" master bridge0 2>/dev/null || forwards "port$1"
}

# Ends the processes inside a namespace (its name would go, and the namespace stay), then removes it.
remove() {
  local pid
  for pid in $(ip netns pids "$1" 2>/dev/null); do
    [ "$pid" = $$ ] || kill -KILL "$pid" 2>/dev/null || true
  done
  ip netns del "$1"
}

down() {
  local name
  for name in $(ours); do remove "$name"; done
  rm -rf "$LAB_RUN"
}

loss() {
  local name permille direction=${3:-both} match port=port$1
  name=$(host "${1:-}")
  permille=$(awk -v percent="${2:-}" 'BEGIN { if (percent !~ /^[0-9.]+$/ || percent > 100) exit 1; printf "%d", percent * 10 }') ||
    fail "loss in percent, not '${2:-}'"
  case $direction in in | out | both) ;; *) fail "in, out or both, not '$direction'" ;; esac
  inside "$name" nft delete table inet loss 2>/dev/null || true
  inside "$SWITCH" nft delete table netdev "loss$1" 2>/dev/null || true
  [ "$permille" -gt 0 ] || return 0
  match="meta l4proto udp numgen random mod 1000 < $permille counter drop"
  [ "$permille" -lt 1000 ] || match="meta l4proto udp counter drop"
  [ "$direction" = out ] || inside "$name" nft -f - <<RULES
table inet loss { chain arriving { type filter hook input priority -300; iifname eth0 $match; }; }
RULES
  [ ! -e "$LAB_RUN/wire$1.pid" ] || port=far$1
  # What leaves is lost at the switch: dropped on the way out of the host, it would be an error of the sender's send.
  [ "$direction" = in ] || inside "$SWITCH" nft -f - <<RULES
table netdev loss$1 { chain leaving { type filter hook ingress device "$port" priority 0; $match; }; }
RULES
}

snoop() {
  case ${1:-} in
    on) ip -n "$SWITCH" link set bridge0 type bridge mcast_snooping 1 ;;
    off) ip -n "$SWITCH" link set bridge0 type bridge mcast_snooping 0 ;;
    *) usage ;;
  esac
}

background() {
  local name
  name=$(host "${1:-}")
  shift
  mkdir -p "$LAB_RUN"
  exec 3>"$LAB_RUN/new.$$.log"
  ip netns exec "$name" "$@" </dev/null >&3 2>&3 &
  mv "$LAB_RUN/new.$$.log" "$LAB_RUN/$!.log"
  echo $!
}

# Root needs only namespaces of its own. Anyone else gets the rights of root inside, and keeps their name: tcpdump, for one, would
# give up rights that belong to a root. A private /run, so that `ip netns` has a place.
alone() {
  [ $# -gt 0 ] || usage
  local rights=
  [ "$(id -u)" = 0 ] || rights="--map-current-user --keep-caps"
  # shellcheck disable=SC2016,SC2086
  LAB_ALONE=1 exec unshare --net --mount --propagation private $rights sh -c '
    mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up && ip -6 route add local ff00::/8 dev lo || exit 1
    exec "$@"' sh "$@"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
  up) up "$@" ;;
  down) down ;;
  exec) name=$(host "${1:-}"); shift; exec ip netns exec "$name" "$@" ;;
  bg) background "$@" ;;
  loss) loss "$@" ;;
  delay) delay "$@" ;;
  link) name=$(host "${1:-}"); ip -n "$name" link set eth0 "$2"
    # The kernel drops IPv6 addresses and routes of an interface that goes down.
    [ "$2" = down ] || {
      hex=$(printf '%x' "$1")
      ip -n "$name" -6 addr replace "fd77::$hex/64" dev eth0 nodad
      ip -n "$name" -6 addr replace "fe80::$hex/64" dev eth0 nodad
      ip -n "$name" route replace 224.0.0.0/4 dev eth0
    } ;;
  address) name=$(host "${1:-}"); nodad=
    case $2$3 in add*:*) nodad=nodad ;; esac
    ip -n "$name" addr "$2" "$3" dev eth0 $nodad ;;
  remove) name=$(host "${1:-}"); remove "$name"; shorten "$1" ;;
  snoop) snoop "$@" ;;
  show) ours; ip netns exec "$SWITCH" bridge mdb show ;;
  alone) alone "$@" ;;
  *) usage ;;
esac
