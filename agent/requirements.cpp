// SPDX-License-Identifier: Apache-2.0
#include "agent/requirements.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "agent/bpf/probe.hpp"

namespace weft::agent {
namespace {

/// The process that unlinked the file may have been its last owner: then what we locked is nobody's any more.
bool is_same_file(const UniqueFd& fd, const std::string& path) {
    struct stat opened{};
    struct stat named{};
    return fstat(fd.get(), &opened) == 0 && stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

} // namespace

std::expected<UniqueFd, std::string> lock_socket(const std::string& lock_file) {
    std::error_code ignored; // open() below says what is wrong
    std::filesystem::create_directories(std::filesystem::path(lock_file).parent_path(), ignored);
    while (true) {
        UniqueFd fd(open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (!fd)
            return std::unexpected("lock " + lock_file + ": " + std::strerror(errno));
        if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
            return std::unexpected("another weft-agent runs on this socket (" + lock_file + " is locked)");
        if (is_same_file(fd, lock_file))
            return fd;
    }
}

std::expected<void, std::string> require_inside(const std::string& cgroup) {
    const auto mount = bpf::find_cgroup2_mount();
    if (!mount)
        return std::unexpected(mount.error());
    std::ifstream file("/proc/self/cgroup");
    std::string line;
    std::string own;
    while (std::getline(file, line))
        if (line.starts_with("0::"))
            own = line.substr(3);
    std::error_code error;
    const std::string wanted = std::filesystem::canonical(cgroup, error).string();
    if (error)
        return std::unexpected("missing: cgroup2 folder " + cgroup + ": " + error.message());
    const std::string here = std::filesystem::weakly_canonical(*mount + own, error).string();
    if (here == wanted || here.starts_with(wanted + "/"))
        return {};
    return std::unexpected("missing: this process inside the cgroup " + wanted + " (it is in " + here +
                           "): sockets that it makes would not see the hooks");
}

void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

} // namespace weft::agent
