# SPDX-License-Identifier: MIT
# Pipes, subshells, jobs and signals as bash has them.
f() { echo in f; return 3; }
f | cat; echo "${PIPESTATUS[@]}"
yes | head -3
cat <<X | tr a-z A-Z
heredoc text
X
x=$(for i in 1 2 3; do (echo $i; exit $i) || true; done); echo "$x"
trap 'echo caught' USR1; kill -USR1 $$; 
sleep 30 & p=$!; kill $p; wait $p; echo "killed $?"
( trap '' TERM; exec sleep 0.05 ) & wait $!; echo "w $?"
seq 1 20000 | awk '{s+=$1} END {print s}'
head -c 3000000 /dev/zero | wc -c
head -c 300000 /dev/zero | { while read -r -n 1000 -d '' line; do :; done; echo loop; } 2>/dev/null
( echo a; echo b >&2 ) 2>&1 | sort
false; echo $?; true && echo t
set -o pipefail; false | true; echo $?
exec 3< <(echo from fd3); read l <&3; echo $l
coproc cat; echo hi >&${COPROC[1]}; read r <&${COPROC[0]}; echo $r; kill $COPROC_PID
echo $((1+2)) $(basename /a/b.c .c) `dirname /x/y`
[ -d /etc ] && echo dir
sh -c 'exit 7'; echo $?
sh -c 'kill -9 $$'; echo $?
sh -c 'kill -SEGV $$' 2>/dev/null; echo $?
nosuchcmd 2>/dev/null; echo $?
/etc/passwd 2>/dev/null; echo $?
wait; echo end
for i in $(seq 1 30); do (exit $i) & done; wait; echo all
