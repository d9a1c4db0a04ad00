// SPDX-License-Identifier: Apache-2.0
#include "agent/source/directory.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "agent/source/limits.hpp"
#include "agent/source/open_dir.hpp"

namespace weft::agent {
namespace {

constexpr size_t read_step_bytes = 64U << 10U;

std::string reason(const char* during, int error) {
    return std::string(during) + ": " + std::strerror(error);
}

/// While we hold it open: nothing that a listing or an open() says about it means anything from then on.
bool is_deleted(int directory) {
    struct stat status{};
    return fstat(directory, &status) != 0 || status.st_nlink == 0;
}

/// The whole content, or why not. Never blocks: pipes and devices are refused by type.
std::optional<std::string> read_all(int fd, size_t most, std::string& why) {
    struct stat status{};
    if (fstat(fd, &status) != 0) {
        why = reason("stat", errno);
        return std::nullopt;
    }
    if (!S_ISREG(status.st_mode)) {
        why = "is not a regular file";
        return std::nullopt;
    }
    std::string content;
    while (content.size() <= most) {
        const size_t had = content.size();
        content.resize(had + read_step_bytes);
        const ssize_t got = read(fd, content.data() + had, read_step_bytes);
        content.resize(had + (got > 0 ? static_cast<size_t>(got) : 0));
        if (got == 0)
            return content;
        if (got < 0 && errno != EINTR) {
            why = reason("read", errno);
            return std::nullopt;
        }
    }
    why = "is larger than " + std::to_string(most) + " bytes";
    return std::nullopt;
}

bool holds_objects_of(const ObjectStore& store, const std::string& file) {
    bool any = false;
    store.each_table([&](const auto& table) {
        any = any ||
              std::any_of(table.begin(), table.end(), [&](const auto& each) { return each.second.origin == file; });
    });
    return any;
}

} // namespace

bool is_manifest_name(const std::string& name) {
    return !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml"));
}

LoadResult DirectorySource::load(const ObjectStore& previous) {
    const UniqueFd directory(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory)
        return keep_all(previous, reason("open the directory", errno));
    std::vector<std::string> names;
    std::string why;
    if (!list(directory.get(), names, why))
        return keep_all(previous, why);
    std::vector<SourceFile> files;
    std::map<std::string, Remembered> now;
    size_t bytes_left = limits::directory_bytes_max;
    for (const auto& name : names)
        read_file(directory.get(), name, previous, bytes_left, files, now);
    if (is_deleted(directory.get())) // `rm -r` takes the files first: those were not meant to go alone
        return keep_all(previous, "the directory was deleted");
    remembered_ = std::move(now);
    return merge(previous, std::move(files));
}

bool DirectorySource::list(int directory, std::vector<std::string>& names, std::string& why) const {
    const int copy = fcntl(directory, F_DUPFD_CLOEXEC, 0);
    const OpenDir stream(copy < 0 ? nullptr : fdopendir(copy));
    if (!stream) {
        why = reason("read the directory", errno);
        if (copy >= 0)
            ::close(copy);
        return false;
    }
    for (errno = 0; const dirent* entry = readdir(stream.get()); errno = 0) {
        if (is_manifest_name(entry->d_name))
            names.emplace_back(entry->d_name);
        if (names.size() > limits::directory_files_max) {
            why = "holds more than " + std::to_string(limits::directory_files_max) + " manifests";
            return false;
        }
    }
    if (errno != 0) {
        why = reason("read the directory", errno);
        return false;
    }
    std::sort(names.begin(), names.end());
    return true;
}

void DirectorySource::read_file(int directory, const std::string& name, const ObjectStore& previous, size_t& bytes_left,
                                std::vector<SourceFile>& out, std::map<std::string, Remembered>& now) {
    struct stat link{};
    const UniqueFd fd(openat(directory, name.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    const int error = errno;
    if (!fd && error == ENOENT && fstatat(directory, name.c_str(), &link, AT_SYMLINK_NOFOLLOW) != 0)
        return; // deleted since it was listed; a dangling link is a fault
    SourceFile file{.name = name, .parsed = {}, .unreadable = {}};
    std::optional<std::string> content;
    if (!fd)
        file.unreadable = reason("open", error);
    else
        content = read_all(fd.get(), std::min(limits::file_bytes_max, bytes_left), file.unreadable);
    if (content && content->empty() && holds_objects_of(previous, name)) {
        // Most likely about to be rewritten in place: its policies must not vanish in between.
        file.unreadable = "is empty; its objects stay in force until it has content or is deleted";
        content.reset();
    }
    if (content) {
        bytes_left -= content->size();
        const auto found = remembered_.find(name);
        const bool same = found != remembered_.end() && found->second.content == *content;
        file.parsed = same ? found->second.parsed : std::make_shared<const ParsedFile>(parse_manifests(*content));
        now[name] = {.content = std::move(*content), .parsed = file.parsed};
    }
    out.push_back(std::move(file));
}

LoadResult DirectorySource::keep_all(const ObjectStore& previous, const std::string& why) const {
    LoadResult result{.store = previous, .faults = {}, .unread = {path_}, .unreadable = {path_}, .ignored = 0};
    result.faults.push_back(
        {.origin = path_, .object = {}, .field = {}, .message = why + "; everything stays as it was"});
    return result;
}

} // namespace weft::agent
