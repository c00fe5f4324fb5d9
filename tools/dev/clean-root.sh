# SPDX-License-Identifier: MIT
# Clean Debian 12 systems in folders, and commands in them: sourced, not run, from the top of the
# repository. Needs root and mmdebstrap, and says so.
# shellcheck shell=bash

if [[ $(id -u) != 0 ]]; then
  echo "${0##*/}: needs root, to make a file system for Debian" >&2
  exit 4
fi
if ! command -v mmdebstrap >/dev/null; then
  echo "${0##*/}: mmdebstrap is missing; run: sudo apt-get install mmdebstrap" >&2
  exit 4
fi

# What this system's apt is set up with, besides lists and keys: a proxy, certificates.
sources=()
for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
  if [[ -s $file ]]; then sources+=("$file"); fi
done
options=()
while IFS= read -r line; do options+=("--aptopt=$line"); done < <(
  apt-config dump | grep -iE '^Acquire::(https?::)?(Proxy|CAInfo|Verify)' || true)

# make_root FOLDER [PACKAGE]: a base system with one package on top.
make_root() {
  mmdebstrap --quiet --variant=minbase --include="ca-certificates${2:+,$2}" "${options[@]}" \
    bookworm "$1" "${sources[@]}"
  # Certificates that this system trusts and a fresh one would not.
  if [[ -d /usr/local/share/ca-certificates ]]; then
    cp -rT /usr/local/share/ca-certificates "$1/usr/local/share/ca-certificates"
    chroot "$1" update-ca-certificates >/dev/null 2>&1 || true
  fi
}

# put_tree ROOT WORKTREE: this repository as /ebb; WORKTREE 0: a clone of HEAD, 1: the files as they are.
put_tree() {
  if (($2)); then
    mkdir "$1/ebb"
    git ls-files -z --cached --others --exclude-standard | tar -c --null -T - |
      tar -x -C "$1/ebb"
  else
    git clone --quiet --no-hardlinks . "$1/ebb"
  fi
}

# in_root ROOT VIA COMMAND...: runs a command in a root, with /dev/kvm if VIA is kvm, in mount and process
# namespaces of its own: everything it leaves running ends with it.
in_root() {
  local root=$1 via=$2
  shift 2
  # shellcheck disable=SC2016 # expands inside
  unshare --mount --pid --fork --kill-child bash -euc '
    root=$1 via=$2
    shift 2
    mount --make-rprivate /
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sys "$root/sys"
    mount -t tmpfs dev "$root/dev"
    for node in null zero full random urandom tty; do
      touch "$root/dev/$node"
      mount --bind "/dev/$node" "$root/dev/$node"
    done
    if [[ $via == kvm ]]; then
      touch "$root/dev/kvm"
      mount --bind /dev/kvm "$root/dev/kvm"
    fi
    mkdir "$root/dev/shm"
    mount -t tmpfs shm "$root/dev/shm"
    ln -s /proc/self/fd "$root/dev/fd"
    if [[ -e /etc/resolv.conf ]]; then cat /etc/resolv.conf >"$root/etc/resolv.conf"; fi
    exec chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
      "$@"' - "$root" "$via" "$@"
}
