// SPDX-License-Identifier: Apache-2.0
#include "l7engine/server/memory_watch.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <utility>

namespace weft::l7 {
namespace {

constexpr size_t cgroup_depth_max = 32;
constexpr uint64_t host_divisor = 4;
constexpr size_t read_bytes_max = 8192;
/// Above it the kernel means "none" (cgroup1 and some container runtimes write a rounded INT64_MAX).
constexpr uint64_t limit_bytes_max = uint64_t{1} << 50;

UniqueFd open_file(const std::string& path) {
    return UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

/// From its beginning, so that a file of the kernel is made anew.
std::string_view read_again(const UniqueFd& file, std::span<char> into) {
    if (lseek(file.get(), 0, SEEK_SET) != 0)
        return {};
    const ssize_t size = read(file.get(), into.data(), into.size());
    return {into.data(), size > 0 ? static_cast<size_t>(size) : 0};
}

std::string read_file(const std::string& path) {
    std::array<char, read_bytes_max> bytes{};
    const UniqueFd file = open_file(path);
    return file ? std::string(read_again(file, bytes)) : std::string();
}

std::optional<uint64_t> parse_number(std::string_view text) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end == text.data())
        return std::nullopt;
    return value;
}

} // namespace

std::optional<uint64_t> read_bytes(std::string_view text) {
    const std::optional<uint64_t> value = parse_number(text);
    return value && *value <= limit_bytes_max ? value : std::nullopt;
}

uint64_t read_file_cache_bytes(std::string_view text) {
    uint64_t sum = 0;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        for (const std::string_view name : {"active_file ", "inactive_file "}) {
            if (line.starts_with(name))
                sum += parse_number(line.substr(name.size())).value_or(0);
        }
        text.remove_prefix(std::min(line.size() + 1, text.size()));
    }
    return sum;
}

std::optional<uint64_t> read_resident_pages(std::string_view text) {
    const size_t space = text.find(' ');
    return space == std::string_view::npos ? std::nullopt : parse_number(text.substr(space + 1));
}

std::optional<uint64_t> read_total_bytes(std::string_view text) {
    constexpr std::string_view name = "MemTotal:";
    const size_t at = text.find(name);
    if (at == std::string_view::npos)
        return std::nullopt;
    text.remove_prefix(at + name.size());
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    const std::optional<uint64_t> kibibytes = parse_number(text);
    return kibibytes ? std::optional(*kibibytes * 1024) : std::nullopt;
}

std::optional<std::string_view> read_cgroup_path(std::string_view text) {
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        if (line.starts_with("0::/"))
            return line.substr(3);
        text.remove_prefix(std::min(line.size() + 1, text.size()));
    }
    return std::nullopt;
}

MemoryWatch::MemoryWatch(uint64_t limit_bytes, const MemoryFiles& files) {
    if (limit_bytes > 0)
        add_resident(limit_bytes, files);
    add_cgroups(files);
    if (sources_.empty())
        add_resident(read_total_bytes(read_file(files.proc + "/meminfo")).value_or(0) / host_divisor, files);
}

void MemoryWatch::add_resident(uint64_t limit, const MemoryFiles& files) {
    UniqueFd file = open_file(files.proc + "/self/statm");
    if (file && limit > 0)
        sources_.push_back({.file = std::move(file), .stat = {}, .is_statm = true, .limit = limit});
}

/// Its own and those above it, up to the mount: what a container sees may begin anywhere.
void MemoryWatch::add_cgroups(const MemoryFiles& files) {
    const std::string text = read_file(files.proc + "/self/cgroup");
    std::string path(read_cgroup_path(text).value_or("/"));
    for (size_t depth = 0; depth < cgroup_depth_max; ++depth) {
        for (const std::string& mount : files.cgroup_mounts) {
            const std::string folder = mount + path + (path.ends_with('/') ? "" : "/");
            const std::optional<uint64_t> limit = read_bytes(read_file(folder + "memory.max"));
            UniqueFd file = open_file(folder + "memory.current");
            if (limit && *limit > 0 && file)
                sources_.push_back({.file = std::move(file),
                                    .stat = open_file(folder + "memory.stat"),
                                    .is_statm = false,
                                    .limit = *limit});
        }
        if (path == "/")
            return;
        path.erase(std::max<size_t>(path.rfind('/'), 1));
    }
}

MemoryWatch::Reading MemoryWatch::read() const {
    Reading nearest;
    for (const Source& source : sources_) {
        std::array<char, read_bytes_max> bytes;
        const std::string_view text = read_again(source.file, bytes);
        std::optional<uint64_t> used = source.is_statm ? read_resident_pages(text) : read_bytes(text);
        if (!used)
            continue;
        if (source.is_statm)
            *used *= static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
        else if (source.stat)
            *used -= std::min(*used, read_file_cache_bytes(read_again(source.stat, bytes)));
        // used / limit compared without a division
        if (nearest.limit == 0 || static_cast<double>(*used) * static_cast<double>(nearest.limit) >
                                      static_cast<double>(nearest.used) * static_cast<double>(source.limit))
            nearest = {.used = *used, .limit = source.limit};
    }
    return nearest;
}

uint64_t MemoryWatch::limit() const {
    const auto lowest = std::ranges::min_element(sources_, {}, &Source::limit);
    return lowest == sources_.end() ? 0 : lowest->limit;
}

void give_memory_back() {
    malloc_trim(0);
}

} // namespace weft::l7
