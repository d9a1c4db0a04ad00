// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/lab.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "agent/bpf/probe.hpp"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace weft::test {
namespace {

constexpr const char* folder_prefix = "weft-test-bpf-";

[[noreturn]] void give_up(const std::string& what) {
    std::fprintf(stderr, "lab: %s: %s\n", what.c_str(), std::strerror(errno));
    std::exit(1);
}

struct Folders {
    std::string mount;
    std::string own;
    std::string other;
};
Folders& folders() {
    static Folders instance;
    return instance;
}

void join_cgroup(const std::string& folder) {
    std::ofstream procs(folder + "/cgroup.procs");
    procs << getpid() << std::flush;
    if (!procs)
        give_up("cannot join the cgroup " + folder);
}

/// Folders of runs that were killed; a populated one belongs to a run that still lives and cannot be removed.
void remove_stale_folders(const std::string& mount) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(mount, ignored)) {
        if (entry.path().filename().string().starts_with(folder_prefix))
            rmdir(entry.path().c_str());
    }
}

class Lab : public ::testing::Environment {
public:
    void SetUp() override {
        // Not being root is a failure and no skip: these tests are the proof of the datapath.
        if (geteuid() != 0) {
            std::fprintf(stderr, "lab: these tests need root\n");
            std::exit(1);
        }
        const auto mount_point = agent::bpf::find_cgroup2_mount();
        if (!mount_point)
            give_up(mount_point.error());
        remove_stale_folders(*mount_point);
        folders().mount = *mount_point;
        folders().own = *mount_point + "/" + folder_prefix + std::to_string(getpid());
        folders().other = folders().own + "-other";
        if (mkdir(folders().own.c_str(), 0755) != 0 || mkdir(folders().other.c_str(), 0755) != 0)
            give_up("cannot make " + folders().own);
        join_cgroup(folders().own);
        if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr) != 0)
            give_up("cannot mount a private bpffs");
    }
    void TearDown() override {
        join_cgroup(folders().mount);
        rmdir(folders().own.c_str());
        rmdir(folders().other.c_str());
    }
};
const auto* const lab = ::testing::AddGlobalTestEnvironment(new Lab);

int family_of(const SocketAddress& address, bool force_v6) {
    return address.address.is_v4() && !force_v6 ? AF_INET : AF_INET6;
}

socklen_t fill(const SocketAddress& address, int family, sockaddr_storage& out) {
    if (family == AF_INET)
        return address.to_sockaddr(out);
    std::memset(&out, 0, sizeof(out));
    auto& six = reinterpret_cast<sockaddr_in6&>(out);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(address.port);
    std::memcpy(&six.sin6_addr, address.address.bytes.data(), 16);
    return sizeof(sockaddr_in6);
}

/// A socket with the options set, bound if they say so.
UniqueFd prepare(const SocketAddress& address, const SocketOptions& options) {
    const int family = family_of(address, options.force_v6);
    UniqueFd fd(socket(family, options.type | SOCK_CLOEXEC | (options.non_blocking ? SOCK_NONBLOCK : 0), 0));
    if (!fd)
        give_up("socket");
    const int on = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (options.reuse_port)
        setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (family == AF_INET6) {
        const int only = options.v6_only ? 1 : 0;
        setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    }
    if (!options.device.empty() && setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, options.device.c_str(),
                                              static_cast<socklen_t>(options.device.size())) != 0)
        give_up("SO_BINDTODEVICE");
    if (options.bind) {
        sockaddr_storage own{};
        const socklen_t length = fill(*options.bind, family, own);
        if (bind(fd.get(), reinterpret_cast<sockaddr*>(&own), length) != 0)
            give_up("bind to " + options.bind->to_string());
    }
    if (options.before)
        options.before(fd.get());
    return fd;
}

std::optional<SocketAddress> name_by(int fd, int (*call)(int, sockaddr*, socklen_t*)) {
    sockaddr_storage storage{};
    socklen_t length = sizeof(storage);
    if (call(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0)
        return std::nullopt;
    return SocketAddress::from_sockaddr(storage);
}

bool wait_readable(int fd, bool patient) {
    pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
    const auto timeout = patient ? std::chrono::milliseconds(patience).count() : 0;
    return poll(&one, 1, static_cast<int>(timeout)) == 1;
}

} // namespace

const std::string& lab_cgroup() {
    return folders().own;
}
const std::string& other_cgroup() {
    return folders().other;
}
std::string pin_dir() {
    return "/sys/fs/bpf/weft_test";
}

Netns::Netns() {
    const UniqueFd before(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (unshare(CLONE_NEWNET) != 0)
        give_up("unshare(CLONE_NEWNET)");
    fd_.reset(open("/proc/thread-self/ns/net", O_RDONLY)); // without O_CLOEXEC: ip(8) names the cable's end by it
    if (setns(before.get(), CLONE_NEWNET) != 0)
        give_up("setns");
}

uint64_t Netns::cookie() const {
    uint64_t cookie = 0;
    run([&] {
        const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        socklen_t bytes = sizeof(cookie);
        getsockopt(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &bytes);
    });
    return cookie;
}

void Netns::run(const std::function<void()>& inside) const {
    const UniqueFd before(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (setns(fd_.get(), CLONE_NEWNET) != 0)
        give_up("setns");
    inside();
    if (setns(before.get(), CLONE_NEWNET) != 0)
        give_up("setns back");
}

void Netns::ip(const std::string& batch) const {
    run([&] {
        FILE* pipe = popen("ip -batch -", "w");
        if (pipe == nullptr || std::fwrite(batch.data(), 1, batch.size(), pipe) != batch.size() || pclose(pipe) != 0)
            give_up("ip " + batch);
    });
}

Cable::Cable() {
    const std::string far_end = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(right.fd());
    const auto configure = [](const std::string& own4, const std::string& own6, const std::string& far4,
                              const std::string& far6) {
        return "link set lo up\naddr add " + own4 + "/24 dev eth0\naddr add " + own6 +
               "/64 dev eth0 nodad\nlink set eth0 up\nroute add default via " + far4 + "\nroute add default via " +
               far6 + "\n";
    };
    left.ip("link add eth0 type veth peer name eth0 netns " + far_end + "\n");
    right.ip(configure(right4, right6, left4, left6));
    left.ip(configure(left4, left6, right4, right6));
}

SocketAddress at(const std::string& address, uint16_t port) {
    const auto parsed = IpAddress::parse(address);
    if (!parsed)
        give_up("not an address: " + address);
    return {*parsed, port};
}

UniqueFd listen_at(const Netns& netns, const SocketAddress& address, const SocketOptions& options) {
    UniqueFd fd;
    netns.run([&] {
        SocketOptions bound = options;
        bound.bind = address;
        fd = prepare(address, bound);
        if (options.type == SOCK_STREAM && listen(fd.get(), 64) != 0)
            give_up("listen at " + address.to_string());
    });
    return fd;
}

Dialled dial(const Netns& netns, const SocketAddress& address, const SocketOptions& options) {
    Dialled out;
    netns.run([&] {
        out.fd = prepare(address, options);
        // A SYN that nobody answers must fail the test soon, not after two minutes.
        const timeval limit{.tv_sec = patience.count(), .tv_usec = 0};
        setsockopt(out.fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        out.error = connect_again(out.fd.get(), address, options.force_v6);
    });
    return out;
}

int connect_again(int fd, const SocketAddress& address, bool force_v6) {
    sockaddr_storage to{};
    const socklen_t length = fill(address, family_of(address, force_v6), to);
    return connect(fd, reinterpret_cast<sockaddr*>(&to), length) == 0 ? 0 : errno;
}

void disconnect(int fd) {
    sockaddr none{};
    none.sa_family = AF_UNSPEC;
    if (connect(fd, &none, sizeof(none)) != 0)
        give_up("disconnect");
}

Accepted accept_at(int listener, bool patient) {
    Accepted out;
    if (!wait_readable(listener, patient))
        return out;
    sockaddr_storage storage{};
    socklen_t length = sizeof(storage);
    out.fd.reset(accept4(listener, reinterpret_cast<sockaddr*>(&storage), &length, SOCK_CLOEXEC));
    out.peer = SocketAddress::from_sockaddr(storage);
    out.family = storage.ss_family;
    return out;
}

std::optional<SocketAddress> local_of(int fd) {
    return name_by(fd, getsockname);
}
std::optional<SocketAddress> peer_of(int fd) {
    return name_by(fd, getpeername);
}

bool talk(int from, int to) {
    const char sent = 'w';
    char got = 0;
    return send(from, &sent, 1, MSG_NOSIGNAL) == 1 && wait_readable(to, true) && recv(to, &got, 1, 0) == 1 &&
           got == sent;
}

bool eventually(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline)
            return false;
        std::this_thread::yield();
    }
    return true;
}

} // namespace weft::test
