// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/process.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>

#include "config/base/unique_fd.hpp"

namespace weft::agent {
namespace {

constexpr size_t stat_bytes_max = 1024;
constexpr int start_time_field = 19; ///< of /proc/PID/stat, behind the name, from 0

} // namespace

std::string read_start(const std::string& path, size_t bytes_max) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string text(file ? bytes_max : 0, '\0');
    size_t length = 0;
    while (length < text.size()) {
        const ssize_t got = read(file.get(), text.data() + length, text.size() - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        length += static_cast<size_t>(got);
    }
    text.resize(length);
    return text;
}

std::optional<uint64_t> start_ticks(const std::string& proc, pid_t pid) {
    const std::string text = read_start(proc + "/" + std::to_string(pid) + "/stat", stat_bytes_max);
    const size_t name_end = text.rfind(')'); // the name may hold anything
    if (name_end == std::string::npos)
        return std::nullopt;
    std::istringstream fields(text.substr(name_end + 1));
    std::string skipped;
    for (int i = 0; i < start_time_field; ++i)
        fields >> skipped;
    uint64_t ticks = 0;
    return fields >> ticks ? std::optional(ticks) : std::nullopt;
}

} // namespace weft::agent
