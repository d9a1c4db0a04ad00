#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building and testing Weft needs on Debian 12 or newer. Idempotent: a second run installs nothing.
#   ./setup.sh           build and test tools
#   ./setup.sh --bench   also the peers that `make bench` measures beside us
#   ./setup.sh --kube    also what the Kubernetes cluster of tests/kube runs on
set -euo pipefail
cd "$(dirname "$0")"

build_packages=(
    clang-19 lld-19 llvm-19 libclang-rt-19-dev clang-format-19 clang-tidy-19 cmake ninja-build make ccache pkg-config
    libbpf-dev libelf-dev zlib1g-dev bpftool protobuf-compiler libprotobuf-dev libyaml-cpp-dev libsimdjson-dev
    libcurl4-openssl-dev nlohmann-json3-dev
    libspdlog-dev libfmt-dev libcli11-dev prometheus-cpp-dev libcivetweb-dev libssl-dev libseccomp-dev libcap-dev libgtest-dev libgmock-dev
)
test_packages=(python3 python3-h2 python3-pytest python3-venv python3-yaml curl wrk nghttp2-client iproute2 procps util-linux libcap2-bin nginx-light haproxy)
bench_packages=(libnginx-mod-stream iperf3 linux-perf)
kube_packages=(etcd-server containerd runc containernetworking-plugins busybox-static nftables iptables conntrack openssl)
# Too old (liburing, llhttp, nghttp2) in Debian 12; linux-libc-dev is for the compat header of the newer liburing.
next_release_packages=(liburing-dev liburing2 libllhttp-dev libllhttp9.2 libnghttp2-dev libnghttp2-14 linux-libc-dev)

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "must run as root: it installs packages (and the tests make network namespaces)"
. /etc/os-release
[ "${ID:-}" = debian ] || say "warning: written for Debian 12 or newer, this is ${PRETTY_NAME:-unknown}"

wanted=("${build_packages[@]}" "${test_packages[@]}")
command -v go >/dev/null || wanted+=(golang-go) # of the tests: h2spec, grpcurl and their servers
command -v node >/dev/null || wanted+=(nodejs)     # of the tests: a server beside nginx and haproxy
[ "${1:-}" = --bench ] && wanted+=("${bench_packages[@]}")
[ "${1:-}" = --kube ] && wanted+=("${kube_packages[@]}")
if [ "${VERSION_ID%%.*}" -ge 13 ] 2>/dev/null; then
    wanted+=(liburing-dev libllhttp-dev libnghttp2-dev)
fi

missing=()
for package in "${wanted[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >build-setup.log 2>&1 ||
        { tail -n 20 build-setup.log >&2; fail "apt-get install failed"; }
    rm -f build-setup.log
fi

# The private apt state keeps this system's own package lists as they are.
unpack_next_release() {
    local prefix state uri
    mkdir -p build/deps
    prefix=$(cd build/deps && pwd)
    state=$prefix/.apt
    mkdir -p "$state"/{lists/partial,cache/archives/partial,debs}
    uri=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' | awk '$2 == "bookworm" {print $1; exit}')
    if [ -z "$uri" ]; then
        apt-get update -qq
        uri=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' | awk '$2 == "bookworm" {print $1; exit}')
    fi
    [ -n "$uri" ] || fail "this machine has no bookworm package source"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri trixie main" >"$state/sources.list"
    local options=(-o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::State::lists="$state/lists" -o Dir::Cache="$state/cache" -o APT::Sandbox::User=root -qq)
    apt-get "${options[@]}" update
    (cd "$state/debs" && apt-get "${options[@]}" download "$@")
    local deb
    for deb in "$state"/debs/*.deb; do dpkg-deb -x "$deb" "$prefix"; done
    rm -rf "$state"
    echo "$*" >"$prefix/.unpacked"
}

if [ "${VERSION_ID%%.*}" = 12 ] && [ "$(cat build/deps/.unpacked 2>/dev/null)" != "${next_release_packages[*]}" ]; then
    say "unpacking ${next_release_packages[*]} of the next Debian release under build/deps"
    rm -rf build/deps
    unpack_next_release "${next_release_packages[@]}"
fi
say "ready"
