// SPDX-License-Identifier: Apache-2.0
#include "agent/bpf/loader.hpp"

#include <bpf/bpf.h>
#include <bpf/datapath.skel.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>

#include "agent/bpf/layout.hpp"
#include "agent/bpf/pins.hpp"
#include "agent/bpf/probe.hpp"
#include "bpf/abi.h"
#include "config/base/log.hpp"

namespace weft::agent::bpf {
namespace {

constexpr size_t log_line_max = 1024;

struct Destroy {
    void operator()(datapath_bpf* skeleton) const { datapath_bpf__destroy(skeleton); }
};
using Skeleton = std::unique_ptr<datapath_bpf, Destroy>;

/// libbpf says the reason on its log only; it is kept for the one line that we return.
std::string& last_warning() {
    static thread_local std::string line;
    return line;
}

int keep_warning(libbpf_print_level level, const char* format, va_list arguments) {
    if (level != LIBBPF_WARN)
        return 0;
    char line[log_line_max] = {};
    const int written = vsnprintf(line, sizeof(line), format, arguments);
    std::string text = line;
    text.resize(text.find_last_not_of('\n') + 1);
    log::debug("bpf_library_warning", log::kv("text", text));
    // The first is the cause, the following ones are its consequences.
    if (last_warning().empty())
        last_warning() = text.substr(0, text.find('\n'));
    return written;
}

std::string load_failure(const char* what) {
    return std::string(what) + ": " + (last_warning().empty() ? std::strerror(errno) : last_warning());
}

std::expected<Skeleton, std::string> open_skeleton(const char* pin_root) {
    libbpf_set_print(keep_warning);
    last_warning().clear();
    bpf_object_open_opts options{};
    options.sz = sizeof(options);
    options.pin_root_path = pin_root;
    Skeleton skeleton(datapath_bpf__open_opts(&options));
    if (!skeleton)
        return std::unexpected(load_failure("BPF object cannot be opened"));
    return skeleton;
}

bool holds_link(const std::vector<std::string>& pins) {
    return std::ranges::any_of(pins, [](const std::string& name) { return name.starts_with("link_"); });
}

/// The layout that the pinned maps were made with; all zero if there is none that can be read.
abi::weft_layout pinned_layout(const std::string& pin_dir) {
    abi::weft_layout layout{};
    const UniqueFd map = open_pin(pin_dir + "/layout");
    const uint32_t key = 0;
    bpf_map_info info{};
    uint32_t bytes = sizeof(info);
    if (map && bpf_obj_get_info_by_fd(map.get(), &info, &bytes) == 0 && info.value_size == sizeof(layout))
        bpf_map_lookup_elem(map.get(), &key, &layout);
    return layout;
}

/// True: adopt. False: nothing worth keeping is there.
std::expected<bool, std::string> may_adopt(const std::string& pin_dir, const bpf_object& object, uint64_t hash) {
    const std::vector<std::string> pins = list_pins(pin_dir);
    if (pins.empty())
        return false;
    const abi::weft_layout layout = pinned_layout(pin_dir);
    const bool same = layout.abi_version == WEFT_ABI_VERSION && layout.hash == hash;
    if (!same && !holds_link(pins))
        return false; // a run that was cut off before it attached anything, or a former version after its links went
    const std::string advice = "; run weft-agent --cleanup, then start again";
    if (!same) {
        return std::unexpected("pin folder " + pin_dir + " holds maps of another layout (version " +
                               std::to_string(layout.abi_version) + ", ours is " + std::to_string(WEFT_ABI_VERSION) +
                               ")" + advice);
    }
    for (const MapShape& shape : map_shapes(object)) {
        if (std::ranges::find(pins, shape.name) == pins.end())
            return std::unexpected("pin folder " + pin_dir + " lacks the map " + shape.name + advice);
    }
    return true;
}

bool write_layout(const datapath_bpf& skeleton, uint64_t hash) {
    const uint32_t key = 0;
    const abi::weft_layout layout{.abi_version = WEFT_ABI_VERSION,
                                  .service_id_next = WEFT_SERVICE_ID_MIN,
                                  .pod_id_next = 1,
                                  .pad = 0,
                                  .hash = hash};
    return bpf_map_update_elem(bpf_map__fd(skeleton.maps.layout), &key, &layout, BPF_ANY) == 0;
}

} // namespace

std::vector<std::string> datapath_map_names() {
    std::vector<std::string> names;
    if (const auto skeleton = open_skeleton(nullptr)) {
        for (const MapShape& shape : map_shapes(*(*skeleton)->obj))
            names.push_back(shape.name);
    }
    return names;
}

std::expected<datapath_bpf*, std::string> load_datapath(const std::string& pin_dir, uint64_t engine_timeout_ns) {
    auto opened = open_skeleton(pin_dir.c_str());
    if (!opened)
        return std::unexpected(opened.error());
    Skeleton skeleton = std::move(*opened);
    const uint64_t hash = layout_hash(*skeleton->obj); // now: loading changes what the object says of its maps
    const auto adopt = may_adopt(pin_dir, *skeleton->obj, hash);
    if (!adopt)
        return std::unexpected(adopt.error());
    const auto discard = [&] {
        for (const MapShape& shape : map_shapes(*skeleton->obj))
            unlink((pin_dir + "/" + shape.name).c_str());
    };
    if (!*adopt)
        discard();
    skeleton->rodata->engine_timeout_ns = engine_timeout_ns;
    const TaskView tasks = probe_tasks();
    skeleton->rodata->tasks_visible = tasks.fault.empty();
    if (tasks.fault.empty()) {
        skeleton->rodata->pid_namespace_device = tasks.device;
        skeleton->rodata->pid_namespace_inode = tasks.inode;
    }
    if (datapath_bpf__load(skeleton.get()) != 0) {
        std::string reason = load_failure("BPF programs cannot be loaded");
        if (!*adopt)
            discard();
        return std::unexpected(reason);
    }
    if (!*adopt && !write_layout(*skeleton, hash)) {
        std::string reason = load_failure("map layout cannot be written");
        discard();
        return std::unexpected(reason);
    }
    return skeleton.release();
}

} // namespace weft::agent::bpf
