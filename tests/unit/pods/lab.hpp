// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

/// A network namespace of `ip netns`, gone with the object. Root only.
class LabNetns {
public:
    explicit LabNetns(const std::string& suffix, bool loopback_up = true)
        : name_("weft-test-" + std::to_string(getpid()) + "-" + suffix) {
        run("ip netns add " + name_);
        if (loopback_up)
            run("ip -n " + name_ + " link set lo up");
    }
    ~LabNetns() { remove(); }
    LabNetns(const LabNetns&) = delete;
    LabNetns& operator=(const LabNetns&) = delete;

    void remove() {
        if (!removed_)
            run("ip netns del " + name_);
        removed_ = true;
    }
    /// Inside the namespace.
    int exec(const std::string& command) const { return run("ip netns exec " + name_ + " " + command); }
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] std::string path() const { return "/run/netns/" + name_; }

    static int run(const std::string& command) {
        return WEXITSTATUS(std::system((command + " >/dev/null 2>&1").c_str()));
    }

private:
    std::string name_;
    bool removed_ = false;
};
