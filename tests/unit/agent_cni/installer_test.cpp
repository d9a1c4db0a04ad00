// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/installer.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "agent/cni/folder.hpp"

namespace weft::agent::cni {
namespace {

namespace fs = std::filesystem;

const std::string conf = R"({"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "bridge"}]})";

class InstallerTest : public testing::Test {
protected:
    InstallerTest() {
        std::string pattern = testing::TempDir() + "weft-cni-XXXXXX";
        top_ = mkdtemp(pattern.data());
        for (const char* name : {"conf", "bin"})
            fs::create_directory(top_ / name);
        write(top_ / "program", "program 1");
    }
    ~InstallerTest() override {
        if (installer_)
            installer_->stop();
        fs::remove_all(top_);
    }

    void start(uint64_t calm_ms = edit_calm_ms) {
        auto made = Installer::start({.folders = folders(),
                                      .program = top_ / "program",
                                      .plugin = {.socket = "/run/x.sock", .excluded = {}},
                                      .may_install = [this] { return agent_answers_.load(); },
                                      .calm_ms = calm_ms},
                                     counters_);
        ASSERT_TRUE(made);
        installer_ = *std::move(made);
    }
    [[nodiscard]] Folders folders() const { return {.conf = top_ / "conf", .bin = top_ / "bin"}; }
    static void write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }
    static std::string text(const fs::path& path) {
        std::ifstream file(path);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    [[nodiscard]] bool has_entry(const std::string& name) const {
        return text(top_ / "conf" / name).find("weft-cni") != std::string::npos;
    }
    static bool becomes(const std::function<bool()>& condition) {
        for (int i = 0; i < 1000; ++i) {
            if (condition())
                return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return false;
    }
    bool becomes(Installer::State state) {
        return becomes([&] { return installer_->view().state == state; });
    }

    fs::path top_;
    std::atomic<bool> agent_answers_ = true;
    metrics::Counters counters_;
    std::unique_ptr<Installer> installer_;
};

TEST_F(InstallerTest, NothingIsTouchedBeforeTheAgentAnswers) {
    agent_answers_ = false;
    write(top_ / "conf" / "10.conflist", conf);
    start();
    std::this_thread::sleep_for(std::chrono::milliseconds(3 * settle_ms));
    EXPECT_EQ(installer_->view().state, Installer::State::waiting);
    EXPECT_EQ(text(top_ / "conf" / "10.conflist"), conf);
    EXPECT_TRUE(fs::is_empty(top_ / "bin"));
    agent_answers_ = true;
    EXPECT_TRUE(becomes(Installer::State::installed));
    EXPECT_TRUE(has_entry("10.conflist"));
    EXPECT_EQ(text(top_ / "bin" / "weft-cni"), "program 1");
    EXPECT_EQ(fs::status(top_ / "bin" / "weft-cni").permissions(), fs::perms(0755));
}

TEST_F(InstallerTest, AConfigurationThatComesLaterIsWrittenAnewOrComesFirstHasTheEntry) {
    start();
    ASSERT_TRUE(becomes(Installer::State::none));
    write(top_ / "conf" / "10.conflist", conf);
    ASSERT_TRUE(becomes(Installer::State::installed));
    EXPECT_TRUE(has_entry("10.conflist"));
    write(top_ / "conf" / "10.conflist", conf); // the CNI's daemon
    EXPECT_TRUE(becomes([&] { return has_entry("10.conflist"); }));
    EXPECT_EQ(installer_->view().state, Installer::State::installed);
    write(top_ / "conf" / "05.conflist", conf);
    EXPECT_TRUE(becomes([&] { return has_entry("05.conflist") && !has_entry("10.conflist"); }));
    EXPECT_TRUE(becomes([&] { return installer_->view().file == "05.conflist"; }));
}

TEST_F(InstallerTest, WhileSomebodyKeepsPuttingTheFileBackItIsNotInstalled) {
    constexpr uint64_t calm_ms = 1000;
    write(top_ / "conf" / "10.conflist", conf);
    start(calm_ms);
    const auto fight = [&] {
        if (has_entry("10.conflist"))
            write(top_ / "conf" / "10.conflist", conf);
    };
    ASSERT_TRUE(becomes([&] {
        fight();
        return installer_->view().state == Installer::State::failed;
    }));
    EXPECT_EQ(installer_->view().reason,
              "somebody puts 10.conflist back without our entry (Cilium: cni.exclusive=false)");
    EXPECT_EQ(installer_->view().file, "10.conflist");
    const uint64_t edits = counters_.total(metrics::Event::cni_install);
    ASSERT_TRUE(becomes([&] {
        fight();
        EXPECT_NE(installer_->view().state, Installer::State::installed);
        return counters_.total(metrics::Event::cni_install) >= edits + 3;
    }));
    ASSERT_TRUE(becomes([&] { return has_entry("10.conflist"); })); // now it is left there
    const auto since = std::chrono::steady_clock::now();
    ASSERT_TRUE(becomes(Installer::State::installed));
    EXPECT_GE(std::chrono::steady_clock::now() - since, std::chrono::milliseconds(calm_ms / 2));
    EXPECT_TRUE(has_entry("10.conflist"));
}

TEST_F(InstallerTest, ModeOfAFileAndOtherFilesStay) {
    write(top_ / "conf" / "10.conflist", conf);
    write(top_ / "conf" / "README", "x");
    ASSERT_EQ(chmod((top_ / "conf" / "10.conflist").c_str(), 0640), 0);
    start();
    ASSERT_TRUE(becomes(Installer::State::installed));
    EXPECT_EQ(fs::status(top_ / "conf" / "10.conflist").permissions(), fs::perms(0640));
    EXPECT_EQ(text(top_ / "conf" / "README"), "x");
    EXPECT_EQ(std::distance(fs::directory_iterator(top_ / "conf"), {}), 2);
    EXPECT_EQ(std::distance(fs::directory_iterator(top_ / "bin"), {}), 1);
}

TEST_F(InstallerTest, AnotherProgramIsReplacedWholeAndALostOnePutBack) {
    write(top_ / "bin" / "weft-cni", "program 0");
    write(top_ / "conf" / "10.conflist", conf);
    std::ifstream running(top_ / "bin" / "weft-cni"); // as one that is executed just now
    start();
    ASSERT_TRUE(becomes(Installer::State::installed));
    EXPECT_EQ(text(top_ / "bin" / "weft-cni"), "program 1");
    EXPECT_EQ((std::string{std::istreambuf_iterator<char>(running), {}}), "program 0");
    fs::remove(top_ / "bin" / "weft-cni");
    EXPECT_TRUE(becomes([&] { return text(top_ / "bin" / "weft-cni") == "program 1"; }));
}

TEST_F(InstallerTest, ALinkIsNotFollowedAndSaidToBeOne) {
    write(top_ / "elsewhere", conf);
    fs::create_symlink(top_ / "elsewhere", top_ / "conf" / "10.conflist");
    start();
    ASSERT_TRUE(becomes(Installer::State::failed));
    EXPECT_NE(installer_->view().reason.find("symbolic link"), std::string::npos) << installer_->view().reason;
    EXPECT_EQ(text(top_ / "elsewhere"), conf);
    EXPECT_GE(counters_.total(metrics::Event::cni_install_failure), 1U);
    fs::remove(top_ / "conf" / "10.conflist");
    write(top_ / "conf" / "10.conflist", conf);
    EXPECT_TRUE(becomes(Installer::State::installed));
}

TEST_F(InstallerTest, HugeAndBrokenFilesAreNoGroundToFail) {
    write(top_ / "conf" / "05.conflist", "{");
    write(top_ / "conf" / "10.conflist", conf);
    write(top_ / "conf" / "20.conflist", std::string(conf_bytes_max + 1, ' '));
    start();
    ASSERT_TRUE(becomes(Installer::State::installed));
    EXPECT_TRUE(has_entry("10.conflist"));
    EXPECT_EQ(installer_->view().skipped.size(), 1U);
}

TEST_F(InstallerTest, UninstallLeavesNothingOfOurs) {
    const std::string single = R"({"cniVersion": "1.0.0", "name": "n", "type": "bridge"})";
    write(top_ / "conf" / "10.conf", single);
    start();
    ASSERT_TRUE(becomes(Installer::State::installed));
    ASSERT_TRUE(has_entry("10.conflist"));
    installer_->stop();
    EXPECT_TRUE(has_entry("10.conflist")); // stop() alone leaves it
    EXPECT_TRUE(uninstall(folders()));
    EXPECT_EQ(text(top_ / "conf" / "10.conf"), single);
    EXPECT_EQ(std::distance(fs::directory_iterator(top_ / "conf"), {}), 1);
    EXPECT_TRUE(fs::is_empty(top_ / "bin"));
    EXPECT_TRUE(uninstall(folders())); // again
    EXPECT_TRUE(uninstall({.conf = top_ / "nowhere", .bin = top_ / "nowhere"}));
}

TEST_F(InstallerTest, AFileThatChangedSinceItWasReadIsLeftAlone) {
    write(top_ / "conf" / "10.conflist", conf);
    const ConfEdit edit{.kind = ConfEdit::Kind::write, .name = "10.conflist", .text = "ours"};
    EXPECT_FALSE(apply(folders().conf, edit, "what was read"));
    EXPECT_EQ(text(top_ / "conf" / "10.conflist"), conf);
    EXPECT_TRUE(apply(folders().conf, edit, conf));
    EXPECT_EQ(text(top_ / "conf" / "10.conflist"), "ours");
}

} // namespace
} // namespace weft::agent::cni
