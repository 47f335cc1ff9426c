#!/bin/sh
# Installs the tulle command of a release for the user who runs it. It needs no root and changes nothing but INSTALLROOT.
#
#   TULLE_VERSION   the release, such as v0.1.0; a release's own script installs that release
#   INSTALLROOT     the folder that gets bin/tulle; $HOME/.tulle unless set
#   TULLE_RELEASES  where releases are: a folder for each version; the project's own unless set
#
# The archive is checked against SHA256SUMS of the release. That finds damage on the way. It does not prove who made the
# release, because both come from the same place.
set -eu

# Releases set this line.
release_version=
releases=https://github.com/tulle-mesh/tulle/releases/download

fail() {
  echo "tulle was not installed: $*" >&2
  exit 1
}

# download URL FILE
download() {
  if command -v curl >/dev/null 2>&1; then
    case $1 in
      https://*) set -- "$1" "$2" --proto =https ;; # also after a redirect
    esac
    url=$1 file=$2
    shift 2
    curl --fail --silent --show-error --location --connect-timeout 30 "$@" --output "$file" "$url"
  elif command -v wget >/dev/null 2>&1; then
    wget -q -t 2 -T 30 -O "$2" "$1"
  else
    fail "curl and wget are missing: install one of them"
  fi
}

# digest FILE
digest() {
  if command -v sha256sum >/dev/null 2>&1; then
    sha256sum <"$1"
  elif command -v shasum >/dev/null 2>&1; then
    shasum -a 256 <"$1"
  else
    fail "sha256sum and shasum are missing: install one of them, the archive cannot be checked without"
  fi
}

# platform prints the name of this machine in the names of archives.
platform() {
  case $(uname -s) in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) fail "there is no archive for $(uname -s) here: for Windows, take the one from $releases/$version/" ;;
  esac
  case $(uname -m) in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) fail "there is no archive for $(uname -m): releases are for amd64 and arm64" ;;
  esac
  echo "$os-$arch"
}

# fetch puts the command into $work, or fails.
fetch() {
  echo "Downloading $releases/$version/$name.tar.gz ..."
  download "$releases/$version/SHA256SUMS" "$work/SHA256SUMS" ||
    fail "could not download $releases/$version/SHA256SUMS: is $version a release, and is there a way to it?"
  want=$(awk -v name="$name.tar.gz" '$2 == name { print $1 }' "$work/SHA256SUMS")
  case $want in
    *[!0-9a-f]* | '') fail "SHA256SUMS of $version does not have one checksum of $name.tar.gz" ;;
  esac
  download "$releases/$version/$name.tar.gz" "$work/$name.tar.gz" ||
    fail "could not download $releases/$version/$name.tar.gz: run this again"
  got=$(digest "$work/$name.tar.gz") || exit 1
  got=${got%% *}
  [ "$got" = "$want" ] ||
    fail "the checksum of $name.tar.gz is $got, and SHA256SUMS of $version has $want: run this again, and if it stays, report it"
  tar -xzf "$work/$name.tar.gz" -C "$work" "$name/tulle" || fail "could not unpack $name.tar.gz"
}

# place moves the command to its place, so that there is never half of one.
place() {
  mkdir -p "$root/bin" || fail "could not make $root/bin: set INSTALLROOT to a folder of yours"
  part=$root/bin/.tulle-$version.$$
  { cp "$work/$name/tulle" "$part" && chmod 755 "$part" && mv -f "$part" "$binary"; } ||
    fail "could not write $binary: is the disk full, or $root/bin another user's?"
}

# link makes bin/tulle the version. It renames a link, because ln -sf removes the old one first: the command is there at
# any moment.
link() {
  part=$root/bin/.tulle.$$
  { ln -s "tulle-$version" "$part" && mv -f "$part" "$root/bin/tulle"; } || fail "could not write $root/bin/tulle"
}

next_steps() {
  echo
  case :$PATH: in
    *:"$root/bin":*) ;;
    *)
      echo "Add it to your path:"
      echo
      echo "  export PATH=\$PATH:$root/bin"
      echo
      ;;
  esac
  cat <<EOF
Then install the mesh:

  tulle check --pre                          # is this cluster fit for it?
  tulle install | kubectl apply -f -
  tulle check                                # waits until the control plane is ready

And give workloads a proxy:

  kubectl annotate namespace NAMESPACE linkerd.io/inject=enabled
  kubectl rollout restart deployment -n NAMESPACE
  tulle check --proxy -n NAMESPACE
EOF
}

clean() {
  [ -z "$work" ] || rm -rf "$work"
  [ -z "$part" ] || rm -f "$part"
}

# main is called in the last line: a script of which only a part arrived does nothing.
main() {
  umask 022
  version=${TULLE_VERSION:-$release_version}
  releases=${TULLE_RELEASES:-$releases}
  releases=${releases%/}
  root=${INSTALLROOT:-${HOME:?set INSTALLROOT to the folder to install to}/.tulle}
  case $version in
    '') fail "set TULLE_VERSION to a release, such as v0.1.0" ;;
    *[!0-9A-Za-z.-]*) fail "TULLE_VERSION $version: want a version such as v0.1.0" ;;
    v[0-9]*.[0-9]*.[0-9]*) ;;
    *) fail "TULLE_VERSION $version: want a version such as v0.1.0" ;;
  esac
  case $root in
    /*) ;;
    *) fail "INSTALLROOT $root: want a path that begins with /" ;;
  esac
  name=$(platform) || exit 1
  name=tulle-$version-$name
  binary=$root/bin/tulle-$version
  [ ! -d "$root/bin/tulle" ] || fail "$root/bin/tulle is a folder: remove it, or set INSTALLROOT"
  work='' part=''
  trap clean EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  if [ -x "$binary" ]; then
    echo "$binary exists. To download it again, remove it and run this again."
  else
    work=$(mktemp -d) || fail "could not make a temporary folder"
    fetch
    place
  fi
  link
  echo "tulle $version is $root/bin/tulle."
  next_steps
}

main "$@"
