// SPDX-License-Identifier: Apache-2.0
#include "agent/source/watch.hpp"

#include <fcntl.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "agent/source/directory.hpp"
#include "agent/source/limits.hpp"
#include "agent/source/open_dir.hpp"
#include "config/base/clock.hpp"

namespace weft::agent {
namespace {

constexpr uint32_t directory_events = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE |
                                      IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr uint32_t parent_events = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr uint32_t target_events = IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr size_t events_bytes = 64U << 10U;
constexpr size_t ancestors_max = 64;

std::string parent_of(const std::string& path) {
    const auto slash = path.find_last_of('/');
    if (slash == std::string::npos)
        return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

uint64_t mix(uint64_t hash, uint64_t value) {
    hash ^= value + 0x9e3779b97f4a7c15ULL + (hash << 6U) + (hash >> 2U);
    return hash * 0xff51afd7ed558ccdULL;
}

/// Calls visit(name) for each manifest in the directory; false if there is no directory.
template <class F>
bool each_manifest(const std::string& directory, F&& visit) {
    const OpenDir stream(opendir(directory.c_str()));
    if (!stream)
        return false;
    size_t count = 0;
    while (const dirent* entry = readdir(stream.get())) {
        if (is_manifest_name(entry->d_name) && ++count <= limits::directory_files_max)
            visit(std::string(entry->d_name));
    }
    return true;
}

} // namespace

Result<DirectoryWatch> DirectoryWatch::open(std::string directory) {
    while (directory.size() > 1 && directory.ends_with('/'))
        directory.pop_back();
    DirectoryWatch out;
    out.directory_ = std::move(directory);
    out.inotify_.reset(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!out.inotify_)
        return std::unexpected(from_errno(errno, "inotify"));
    out.settle_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    out.scan_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    out.epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
    if (!out.settle_ || !out.scan_ || !out.epoll_)
        return std::unexpected(from_errno(errno, "directory watch"));
    for (const int fd : {out.inotify_.get(), out.settle_.get(), out.scan_.get()}) {
        epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
        if (epoll_ctl(out.epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
            return std::unexpected(from_errno(errno, "directory watch"));
    }
    out.rearm();
    out.seen_ = out.signature();
    out.set_timer(out.scan_.get(), scan_ms);
    return out;
}

bool DirectoryWatch::ready() {
    uint64_t expired = 0;
    const bool scan = read(scan_.get(), &expired, sizeof(expired)) == sizeof(expired);
    const bool settled = read(settle_.get(), &expired, sizeof(expired)) == sizeof(expired);
    drain();
    if (scan) {
        set_timer(scan_.get(), scan_ms);
        if (dirty_since_ms_ == 0 && signature() != seen_) {
            dirty_since_ms_ = monotonic_ms();
            set_timer(settle_.get(), settle_ms);
        }
    }
    if (!settled || dirty_since_ms_ == 0)
        return false;
    if (!writing_.empty() && monotonic_ms() - dirty_since_ms_ < patience_ms) {
        set_timer(settle_.get(), settle_ms);
        return false;
    }
    dirty_since_ms_ = 0;
    writing_.clear();
    rearm(); // before the load: what changes after the load's listing must raise an event
    seen_ = signature();
    return true;
}

bool DirectoryWatch::writing() {
    drain();
    return !writing_.empty();
}

void DirectoryWatch::drain() {
    alignas(inotify_event) std::array<char, events_bytes> buffer{};
    bool any = false;
    while (true) {
        const ssize_t got = read(inotify_.get(), buffer.data(), buffer.size());
        if (got <= 0)
            break;
        for (size_t at = 0; at < static_cast<size_t>(got);) {
            const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
            at += sizeof(inotify_event) + event->len;
            if ((event->mask & IN_IGNORED) != 0)
                continue;
            const std::string name = event->len > 0 ? event->name : "";
            if (!matters(event->wd, name))
                continue;
            any = true;
            if ((event->mask & IN_MODIFY) != 0 && writing_.size() < limits::directory_files_max)
                writing_.insert(name);
            else if ((event->mask & (IN_MODIFY | IN_ATTRIB)) == 0)
                writing_.erase(name);
        }
    }
    if (!any)
        return;
    if (dirty_since_ms_ == 0)
        dirty_since_ms_ = monotonic_ms();
    // Each event starts the wait anew, but a directory that never rests is read every patience_ms all the same.
    if (monotonic_ms() - dirty_since_ms_ < patience_ms)
        set_timer(settle_.get(), settle_ms);
}

bool DirectoryWatch::matters(int descriptor, const std::string& name) const {
    return descriptor != above_ || name.empty() || name == above_child_;
}

void DirectoryWatch::rearm() {
    complete_ = true;
    const std::set<int> before = std::exchange(watches_, {});
    std::string below = directory_;
    std::string above = parent_of(directory_);
    for (size_t i = 0; i < ancestors_max; ++i) {
        struct stat status{};
        if ((stat(above.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) || above == "/" || above == ".")
            break;
        below = std::exchange(above, parent_of(above));
    }
    above_ = above == directory_ ? -1 : watch(above, parent_events | IN_ONLYDIR);
    above_child_ = below.substr(below.find_last_of('/') + 1);
    watch(directory_, directory_events | IN_ONLYDIR);
    each_manifest(directory_, [&](const std::string& name) {
        const std::string path = directory_ + "/" + name;
        struct stat status{};
        if (lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode))
            watch(path, target_events);
    });
    for (const int descriptor : before) { // targets that no link names any more; gone ones fail, harmlessly
        if (!watches_.contains(descriptor))
            inotify_rm_watch(inotify_.get(), descriptor);
    }
}

int DirectoryWatch::watch(const std::string& path, uint32_t events) {
    // The same inode gives the same watch: adding it again is harmless.
    const int descriptor = inotify_add_watch(inotify_.get(), path.c_str(), events);
    if (descriptor >= 0)
        watches_.insert(descriptor);
    else if (errno != ENOENT && errno != ENOTDIR)
        complete_ = false;
    return descriptor;
}

void DirectoryWatch::set_timer(int fd, int ms) const {
    itimerspec when{};
    when.it_value.tv_sec = ms / 1000;
    when.it_value.tv_nsec = static_cast<long>(ms % 1000) * 1'000'000L;
    timerfd_settime(fd, 0, &when, nullptr);
}

uint64_t DirectoryWatch::signature() const {
    uint64_t sum = 1;
    const bool there = each_manifest(directory_, [&](const std::string& name) {
        struct stat status{};
        const bool found = stat((directory_ + "/" + name).c_str(), &status) == 0;
        uint64_t hash = mix(std::hash<std::string>{}(name), found);
        if (found) {
            for (const uint64_t value :
                 {uint64_t{status.st_dev}, uint64_t{status.st_ino}, static_cast<uint64_t>(status.st_size),
                  static_cast<uint64_t>(status.st_mtim.tv_sec), static_cast<uint64_t>(status.st_mtim.tv_nsec),
                  static_cast<uint64_t>(status.st_ctim.tv_nsec)})
                hash = mix(hash, value);
        }
        sum += hash; // the order of a listing means nothing
    });
    return there ? sum : 0;
}

} // namespace weft::agent
