// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/installer.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "agent/cni/folder.hpp"
#include "config/base/clock.hpp"
#include "config/base/log.hpp"
#include "config/cni/version.hpp"

namespace weft::agent::cni {
namespace {

using CountedEvent = metrics::Event;

constexpr uint32_t folder_events =
    IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr unsigned program_mode = 0755;

std::string program_of(const Folders& folders) {
    return folders.bin + "/" + weft::cni::plugin_type;
}

const char* word(ConfEdit::Kind kind) {
    switch (kind) {
        using enum ConfEdit::Kind;
    case write: return "configuration";
    case save: return "wrapped";
    case restore: return "restored";
    case remove: return "removed";
    }
    return "";
}

std::string_view text_before(const FolderContents& contents, const std::string& name) {
    const auto found = std::ranges::find(contents.files, name, &ConfFile::name);
    return found == contents.files.end() ? std::string_view() : std::string_view(found->text);
}

} // namespace

const char* name(Installer::State state) {
    switch (state) {
        using enum Installer::State;
    case waiting: return "waiting for the agent";
    case none: return "waiting for a CNI configuration";
    case installed: return "installed";
    case failed: return "failed";
    }
    return "";
}

std::expected<std::unique_ptr<Installer>, std::string> Installer::start(Settings settings,
                                                                        metrics::Counters& counters) {
    UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    UniqueFd inotify(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!wake || !inotify)
        return std::unexpected(std::string("inotify: ") + std::strerror(errno));
    std::unique_ptr<Installer> installer(
        new Installer(std::move(settings), std::move(wake), std::move(inotify), counters));
    installer->thread_ = std::jthread([raw = installer.get()](const std::stop_token& stop) { raw->run(stop); });
    return installer;
}

Installer::Installer(Settings settings, UniqueFd wake, UniqueFd inotify, metrics::Counters& counters)
    : settings_(std::move(settings)), entry_(plugin_entry(settings_.plugin)), wake_(std::move(wake)),
      inotify_(std::move(inotify)), counters_(counters) {}

Installer::~Installer() {
    stop();
}

void Installer::stop() {
    if (!thread_.joinable())
        return;
    thread_.request_stop();
    const uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
    thread_.join();
}

Installer::View Installer::view() const {
    const std::lock_guard lock(mutex_);
    return view_;
}

Json Installer::status() const {
    const View now = view();
    return {{"state", name(now.state)}, {"file", now.file}, {"reason", now.reason}, {"skipped", now.skipped}};
}

void Installer::set(View view) {
    const std::lock_guard lock(mutex_);
    if (view.state != view_.state || view.reason != view_.reason || view.file != view_.file) {
        if (view.state == State::failed)
            log::error("cni_install_failed", log::kv("file", view.file), log::kv("reason", view.reason));
        else
            log::info("cni_install", log::kv("state", name(view.state)), log::kv("file", view.file));
    }
    view_ = std::move(view);
}

void Installer::run(const std::stop_token& stop) {
    while (!stop.stop_requested() && !settings_.may_install())
        pause(settle_ms);
    while (!stop.stop_requested()) {
        // Before they are read: what changes later wakes us.
        for (const std::string& folder : {settings_.folders.conf, settings_.folders.bin})
            static_cast<void>(inotify_add_watch(inotify_.get(), folder.c_str(), folder_events));
        reconcile();
        if (view().state == State::failed && !is_contested())
            pause(install_retry_ms); // our own attempts wake us, too
        else
            wait(view().state == State::installed ? install_again_ms : install_retry_ms);
        pause(settle_ms);
        alignas(inotify_event) std::array<char, 4096> events{};
        while (::read(inotify_.get(), events.data(), events.size()) > 0) {
        }
    }
}

/// Until something changes in the folders, the time is over or stop() is called.
void Installer::wait(int ms) {
    std::array<pollfd, 2> items = {
        {{.fd = wake_.get(), .events = POLLIN, .revents = 0}, {.fd = inotify_.get(), .events = POLLIN, .revents = 0}}};
    poll(items.data(), items.size(), ms);
}

/// Until the time is over or stop() is called.
void Installer::pause(int ms) {
    pollfd item{.fd = wake_.get(), .events = POLLIN, .revents = 0};
    poll(&item, 1, ms);
}

std::optional<std::string> Installer::copy_program() {
    const std::string path = program_of(settings_.folders);
    if (!program_seen_.empty() && file_stamp(path) == program_seen_)
        return std::nullopt;
    const auto ours = read_file(settings_.program, plugin_bytes_max);
    if (!ours)
        return ours.error();
    const auto there = read_file(path, plugin_bytes_max);
    const bool runs = access(path.c_str(), X_OK) == 0;
    if (!there || *there != *ours || !runs) {
        if (const auto written = write_file(settings_.folders.bin, weft::cni::plugin_type, *ours, program_mode, false);
            !written)
            return written.error();
        counters_.add(CountedEvent::cni_install, "program");
        log::info("cni_program_installed", log::kv("path", path));
    }
    program_seen_ = file_stamp(path);
    return std::nullopt;
}

/// The folder as it is, and what is to be done there.
struct Installer::Look {
    FolderContents contents;
    ConfPlan plan;
};

std::expected<Installer::Look, std::string> Installer::look() const {
    auto contents = read_conf_folder(settings_.folders.conf);
    if (!contents)
        return std::unexpected(contents.error());
    ConfPlan plan = plan_install(contents->files, contents->saved, entry_);
    return Look{.contents = *std::move(contents), .plan = std::move(plan)};
}

/// How long the edit has to wait, and whether it is one more of the same file.
void Installer::note_edit(const std::string& file) {
    const bool calm = edited_at_ms_ == 0 || monotonic_ms() > edited_at_ms_ + settings_.calm_ms;
    edit_wait_ms_ = calm ? edit_wait_min_ms : std::min(edit_wait_ms_ * 2, edit_wait_max_ms);
    put_back_ = !calm && file == edited_file_ ? put_back_ + 1 : 0;
    edited_file_ = file;
}

bool Installer::is_contested() const {
    return put_back_ >= put_back_min && monotonic_ms() <= edited_at_ms_ + settings_.calm_ms;
}

void Installer::fail(View next, const char* cause, std::string why) {
    counters_.add(CountedEvent::cni_install_failure, cause);
    next.state = State::failed;
    next.reason = std::move(why);
    set(std::move(next));
}

void Installer::reconcile() {
    if (const auto why = copy_program())
        return fail({}, "program", *why);
    auto now = look();
    if (!now)
        return fail({}, "folder", now.error());
    const auto view_of = [](const ConfPlan& plan) {
        return View{.file = plan.active, .reason = "", .skipped = plan.skipped};
    };
    const auto fail_contested = [&](const ConfPlan& plan) {
        fail(view_of(plan), "put_back",
             "somebody puts " + edited_file_ + " back without our entry (Cilium: cni.exclusive=false)");
    };
    if (!now->plan.edits.empty()) {
        note_edit(now->plan.active);
        if (is_contested())
            fail_contested(now->plan); // before the wait: meanwhile pods start without being held
        if (edit_wait_ms_ > edit_wait_min_ms) {
            pause(edit_wait_ms_);
            now = look();
            if (!now)
                return fail({}, "folder", now.error());
        }
        edited_at_ms_ = monotonic_ms();
    }
    const ConfPlan& plan = now->plan;
    for (const ConfEdit& edit : plan.edits) {
        if (const auto done = apply(settings_.folders.conf, edit, text_before(now->contents, edit.name)); !done)
            return fail(view_of(plan), "configuration", done.error());
        counters_.add(CountedEvent::cni_install, word(edit.kind));
        log::info("cni_file_changed", log::kv("file", edit.name), log::kv("how", word(edit.kind)));
    }
    if (!plan.fault.empty())
        return fail(view_of(plan), "unfit", plan.active + ": " + plan.fault);
    if (is_contested())
        return fail_contested(plan);
    View next = view_of(plan);
    next.state = plan.active.empty() ? State::none : State::installed;
    set(std::move(next));
}

std::expected<void, std::string> uninstall(const Folders& folders) {
    std::expected<void, std::string> first_fault;
    const auto note = [&](const std::expected<void, std::string>& done) {
        if (!done && first_fault)
            first_fault = done;
    };
    if (access(folders.conf.c_str(), F_OK) == 0) {
        const auto contents = read_conf_folder(folders.conf);
        if (!contents)
            return std::unexpected(contents.error());
        for (const ConfEdit& edit : plan_removal(contents->files, contents->saved))
            note(apply(folders.conf, edit, text_before(*contents, edit.name)));
    }
    // While an entry is left, the runtime needs the program.
    if (first_fault && ::unlink(program_of(folders).c_str()) != 0 && errno != ENOENT)
        note(std::unexpected(program_of(folders) + ": remove: " + std::strerror(errno)));
    return first_fault;
}

} // namespace weft::agent::cni
