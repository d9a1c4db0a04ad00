// SPDX-License-Identifier: Apache-2.0
#include "agent/kubelet_watch.hpp"

#include <sys/socket.h>

#include "agent/pods/netns.hpp"
#include "config/base/log.hpp"

namespace weft::agent {
namespace {

uint64_t own_netns_cookie() {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return socket ? netns_cookie_of(socket.get()).value_or(0) : 0;
}

} // namespace

KubeletWatch::KubeletWatch(uint16_t port, bpf::Datapath& datapath)
    : datapath_(datapath), netns_cookie_(own_netns_cookie()) {
    if (port != 0)
        finder_.emplace(KubeletFinder::Settings{.port = port});
}

void KubeletWatch::tick(uint64_t now_ms) {
    if (finder_ && finder_->look(now_ms))
        told_ = false;
    if (!told_)
        tell();
    const View now = view();
    if (now.fault == said_)
        return;
    said_ = now.fault;
    if (said_.empty())
        log::info("kubelet_found", log::kv("pid", now.pid), log::kv("name", now.name));
    else
        log::warn("kubelet_not_found", log::kv("reason", said_));
}

void KubeletWatch::tell() {
    abi::weft_kubelet kubelet{};
    if (finder_ && finder_->found())
        kubelet = {.netns_cookie = netns_cookie_,
                   .started_ticks = finder_->found()->started_ticks,
                   .process = static_cast<uint32_t>(finder_->found()->pid),
                   .pad = 0};
    const Result<void> told = datapath_.set_kubelet(kubelet);
    told_ = told.has_value();
    tell_fault_ = told ? "" : to_string(told.error());
}

KubeletWatch::View KubeletWatch::view() const {
    View view;
    if (!finder_)
        return view;
    view.port = finder_->port();
    if (const auto& found = finder_->found()) {
        view.pid = found->pid;
        view.name = found->name;
    }
    view.fault = finder_->fault();
    if (view.fault.empty())
        view.fault = tell_fault_;
    if (!datapath_.kubelet_fault().empty())
        view.fault = datapath_.kubelet_fault();
    return view;
}

} // namespace weft::agent
