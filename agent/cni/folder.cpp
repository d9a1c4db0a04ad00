// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "config/base/unique_fd.hpp"

namespace weft::agent::cni {
namespace {

/// No runtime reads a file of that name.
constexpr const char* temporary_name = ".weft-cni.tmp";

std::unexpected<std::string> failed(const std::string& path, const char* what) {
    return std::unexpected(path + ": " + what + ": " + std::strerror(errno));
}

bool write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t sent = ::write(fd, text.data(), text.size());
        if (sent < 0 && errno != EINTR)
            return false;
        text.remove_prefix(sent > 0 ? static_cast<size_t>(sent) : 0);
    }
    return true;
}

void sync_folder(const std::string& folder) {
    const UniqueFd opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (opened)
        static_cast<void>(fsync(opened.get()));
}

std::expected<void, std::string> rename_in(const std::string& folder, const std::string& from, const std::string& to) {
    if (std::rename((folder + "/" + from).c_str(), (folder + "/" + to).c_str()) != 0)
        return failed(folder + "/" + from, "rename");
    sync_folder(folder);
    return {};
}

} // namespace

std::expected<std::string, std::string> read_file(const std::string& path, size_t most) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file && errno == ELOOP)
        return std::unexpected(path + ": is a symbolic link, which is not followed");
    if (!file)
        return failed(path, "open");
    struct stat status{};
    if (fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode))
        return std::unexpected(path + ": is no regular file");
    if (status.st_size < 0 || static_cast<size_t>(status.st_size) > most)
        return std::unexpected(path + ": is longer than " + std::to_string(most) + " bytes");
    std::string text(static_cast<size_t>(status.st_size) + 1, '\0');
    size_t length = 0;
    while (length < text.size()) {
        const ssize_t got = ::read(file.get(), text.data() + length, text.size() - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failed(path, "read");
        if (got == 0)
            break;
        length += static_cast<size_t>(got);
    }
    if (length == text.size())
        return std::unexpected(path + ": grows while it is read");
    text.resize(length);
    return text;
}

std::string file_stamp(const std::string& path) {
    struct stat status{};
    if (lstat(path.c_str(), &status) != 0)
        return "";
    std::string stamp;
    for (const auto value :
         {static_cast<long long>(status.st_dev), static_cast<long long>(status.st_ino),
          static_cast<long long>(status.st_size), static_cast<long long>(status.st_mode),
          static_cast<long long>(status.st_mtim.tv_sec), static_cast<long long>(status.st_mtim.tv_nsec),
          static_cast<long long>(status.st_ctim.tv_sec), static_cast<long long>(status.st_ctim.tv_nsec)})
        stamp += std::to_string(value) + " ";
    return stamp;
}

std::expected<void, std::string> write_file(const std::string& folder, const std::string& name, std::string_view text,
                                            unsigned mode, bool like) {
    const std::string path = folder + "/" + name;
    const std::string next = folder + "/" + temporary_name;
    struct stat there{};
    const bool known = like && lstat(path.c_str(), &there) == 0 && S_ISREG(there.st_mode);
    ::unlink(next.c_str()); // of an agent that was killed
    const UniqueFd file(::open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file)
        return failed(next, "create");
    const bool written = write_all(file.get(), text) &&
                         (!known || fchown(file.get(), there.st_uid, there.st_gid) == 0) &&
                         fchmod(file.get(), known ? there.st_mode & 07777U : mode) == 0 && fsync(file.get()) == 0;
    if (!written || std::rename(next.c_str(), path.c_str()) != 0) {
        const auto why = failed(path, "write");
        ::unlink(next.c_str());
        return why;
    }
    sync_folder(folder);
    return {};
}

std::expected<FolderContents, std::string> read_conf_folder(const std::string& folder) {
    struct CloseDir {
        void operator()(DIR* dir) const { closedir(dir); }
    };
    const std::unique_ptr<DIR, CloseDir> stream(opendir(folder.c_str()));
    if (!stream)
        return failed(folder, "open");
    FolderContents out;
    while (const dirent* const each = readdir(stream.get())) {
        const std::string name = each->d_name;
        if (name.ends_with(saved_suffix)) {
            out.saved.insert(name.substr(0, name.size() - saved_suffix.size()));
            continue;
        }
        if (!is_conf_name(name) || each->d_type == DT_DIR)
            continue;
        if (out.files.size() >= conf_files_max)
            return std::unexpected(folder + ": holds more than " + std::to_string(conf_files_max) + " configurations");
        auto text = read_file(folder + "/" + name, conf_bytes_max);
        out.files.push_back({.name = name, .text = text ? *std::move(text) : "", .fault = text ? "" : text.error()});
    }
    return out;
}

std::expected<void, std::string> apply(const std::string& folder, const ConfEdit& edit, std::string_view before) {
    const std::string path = folder + "/" + edit.name;
    switch (edit.kind) {
        using enum ConfEdit::Kind;
    case write:
        if (!before.empty()) {
            const auto now = read_file(path, conf_bytes_max);
            if (!now || *now != before)
                return std::unexpected(path + ": somebody else is writing it");
        }
        return write_file(folder, edit.name, edit.text, 0600, true);
    case save: return rename_in(folder, edit.name, edit.name + std::string(saved_suffix));
    case restore: return rename_in(folder, edit.name + std::string(saved_suffix), edit.name);
    case remove:
        if (::unlink(path.c_str()) != 0 && errno != ENOENT)
            return failed(path, "remove");
        sync_folder(folder);
        return {};
    }
    return {};
}

} // namespace weft::agent::cni
