// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/conflist.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "config/cni/json.hpp"

namespace weft::agent::cni {
namespace {

using Kind = ConfEdit::Kind;
using Folder = std::map<std::string, std::string>; ///< file name -> text

const Json entry =
    plugin_entry({.socket = "/run/weft/cni.sock", .fail_open = false, .timeout_s = 10, .excluded = {"a"}});

std::string list(const std::string& plugins, const std::string& version = "1.0.0") {
    return R"({"zeta": 1, "cniVersion": ")" + version + R"(", "name": "pods", "plugins": [)" + plugins +
           R"(], "disableCheck": true})";
}
const std::string bridge = R"({"type": "bridge", "mtu": 1400, "ipam": {"type": "host-local", "ranges": [[{}]]}})";
const std::string single = R"({"cniVersion": "0.4.0", "name": "pods", "type": "bridge", "ipam": {}})";
const std::string ours = R"({"type": "weft-cni", "socket": "/old"})";

/// Does the edits as a file system would, and checks that at no time nothing valid is there.
Folder after(Folder folder, const std::vector<ConfEdit>& edits) {
    for (const ConfEdit& edit : edits) {
        switch (edit.kind) {
        case Kind::write: folder[edit.name] = edit.text; break;
        case Kind::save:
            folder[edit.name + ".weft-saved"] = folder.at(edit.name);
            folder.erase(edit.name);
            break;
        case Kind::restore:
            folder[edit.name] = folder.at(edit.name + ".weft-saved");
            folder.erase(edit.name + ".weft-saved");
            break;
        case Kind::remove: folder.erase(edit.name); break;
        }
        EXPECT_TRUE(std::ranges::any_of(folder, [](const auto& file) { return is_conf_name(file.first); }));
    }
    return folder;
}

struct Seen {
    std::vector<ConfFile> files;
    std::set<std::string> saved;
};
Seen seen(const Folder& folder) {
    Seen out;
    for (const auto& [name, text] : folder) {
        if (name.ends_with(".weft-saved"))
            out.saved.insert(name.substr(0, name.size() - 11));
        else
            out.files.push_back({.name = name, .text = text});
    }
    std::ranges::reverse(out.files); // the order of a listing means nothing
    return out;
}
ConfPlan install(const Folder& folder) {
    const Seen now = seen(folder);
    return plan_install(now.files, now.saved, entry);
}
Folder installed(const Folder& folder) {
    return after(folder, install(folder).edits);
}
Folder removed(const Folder& folder) {
    const Seen now = seen(folder);
    return after(folder, plan_removal(now.files, now.saved));
}
Json plugins(const std::string& text) {
    return (*weft::cni::parse(text))["plugins"];
}
bool same(const std::string& left, const std::string& right) {
    return weft::cni::parse(left) == weft::cni::parse(right);
}

TEST(Conflist, TheEntryIsAddedLastAndNothingElseChanges) {
    const Folder now = installed({{"10-x.conflist", list(bridge)}});
    ASSERT_EQ(now.size(), 1U);
    const std::string& text = now.at("10-x.conflist");
    EXPECT_TRUE(same(text, list(bridge + "," + entry.dump()))) << text;
    EXPECT_EQ(text.find("zeta"), text.find('"') + 1); // members keep their order
    EXPECT_TRUE(install(now).edits.empty());
    EXPECT_TRUE(install(now).fault.empty());
    EXPECT_TRUE(same(removed(now).at("10-x.conflist"), list(bridge)));
}

TEST(Conflist, AnOldASecondOrAMisplacedEntryIsMadeOneAtTheEnd) {
    for (const std::string& before : {bridge + "," + ours, ours + "," + bridge, ours + "," + bridge + "," + ours,
                                      entry.dump() + "," + bridge, bridge + "," + entry.dump() + "," + entry.dump()}) {
        const Folder now = installed({{"10-x.conflist", list(before)}});
        EXPECT_TRUE(same(now.at("10-x.conflist"), list(bridge + "," + entry.dump()))) << before;
    }
}

TEST(Conflist, TheFirstValidFileIsTheOneThatCounts) {
    struct Row {
        Folder folder;
        std::string active;
        size_t skipped;
    };
    const std::vector<Row> rows = {
        {{}, "", 0},
        {{{"10-x.conflist", list(bridge)}, {"20-y.conflist", list(bridge)}}, "10-x.conflist", 0},
        {{{"10-x.conflist", "{"}, {"20-y.conflist", list(bridge)}}, "20-y.conflist", 1},
        {{{"10-x.conflist", ""}, {"11.conf", "[]"}, {"12.json", "{}"}, {"20-y.conflist", list(bridge)}},
         "20-y.conflist",
         3},
        {{{"10-x.conflist", list("")}, {"11-x.conflist", list("{}")}, {"12-x.conflist", list("7")}}, "", 3},
        {{{"10-x.conflist", R"({"plugins": [{"type": "a"}]})"}}, "", 1}, // no name
        {{{"10-x.conf", list(bridge)}}, "", 1},                          // a list, but not by its file's name
        {{{"10-x.conflist", std::string(100'000, '[')}}, "", 1},
        {{{"10-x.conf", single}, {"10-x.json", single}, {"20-y.conflist", list(bridge)}}, "10-x.conf", 0},
    };
    for (const Row& row : rows) {
        const ConfPlan plan = install(row.folder);
        EXPECT_EQ(plan.active, row.active);
        EXPECT_EQ(plan.skipped.size(), row.skipped) << row.active;
        EXPECT_EQ(plan.edits.empty(), row.active.empty());
    }
}

TEST(Conflist, ASingleConfigurationIsWrappedAndUnwrapped) {
    for (const char* name : {"10-x.conf", "10-x.json"}) {
        const Folder before = {{name, single}, {"20-y.conflist", list(bridge)}};
        const Folder now = installed(before);
        ASSERT_EQ(now.size(), 3U);
        EXPECT_EQ(now.at(std::string(name) + ".weft-saved"), single);
        EXPECT_TRUE(same(now.at("10-x.conflist"), R"({"cniVersion": "0.4.0", "name": "pods", "plugins": [)" + single +
                                                      "," + entry.dump() + "]}"));
        EXPECT_EQ(install(now).active, "10-x.conflist");
        EXPECT_TRUE(install(now).edits.empty());
        EXPECT_EQ(removed(now), before);
        // The CNI's daemon writes its file anew: it is wrapped again.
        Folder again = now;
        again[name] = R"({"cniVersion": "1.0.0", "name": "new", "type": "ptp"})";
        const Folder wrapped = installed(again);
        EXPECT_EQ(plugins(wrapped.at("10-x.conflist"))[0]["type"], "ptp");
        EXPECT_FALSE(wrapped.contains(name));
        EXPECT_EQ(removed(wrapped).at(name), again[name]);
        // And the same when Weft goes at that moment.
        EXPECT_EQ(removed(again), (Folder{{name, again[name]}, {"20-y.conflist", list(bridge)}}));
    }
}

/// Whatever of the edits was done when an agent was killed, the next one comes to the same.
TEST(Conflist, EditsThatWereCutShortAreFinishedOrUndone) {
    for (const char* name : {"10-x.conf", "10-x.json"}) {
        const Folder before = {{name, single}, {"20-y.conflist", list(bridge)}};
        const Folder wrapped = installed(before);
        Folder anew = wrapped; // by the CNI's daemon
        anew[name] = R"({"cniVersion": "1.0.0", "name": "new", "type": "ptp"})";
        for (const Folder& start : {before, wrapped, anew}) {
            const Seen now = seen(start);
            for (const auto& edits : {install(start).edits, plan_removal(now.files, now.saved)}) {
                for (size_t done = 0; done <= edits.size(); ++done) {
                    SCOPED_TRACE(std::string(name) + ", done: " + std::to_string(done));
                    const Folder cut = after(start, {edits.begin(), edits.begin() + static_cast<ptrdiff_t>(done)});
                    EXPECT_EQ(install(cut).fault, "");
                    EXPECT_EQ(installed(cut), installed(start));
                    EXPECT_EQ(removed(cut), removed(start));
                }
            }
        }
        Folder cut = wrapped;
        cut.erase(std::string(name) + ".weft-saved");
        cut[name] = single;
        EXPECT_EQ(install(cut).edits, (std::vector<ConfEdit>{{.kind = Kind::save, .name = name}}));
        // With what an older release had written as the entry.
        cut["10-x.conflist"] = R"({"cniVersion": "0.4.0", "name": "pods", "plugins": [)" + single + "," + ours + "]}";
        EXPECT_EQ(installed(cut), wrapped);
        EXPECT_EQ(removed(cut), before);
    }
}

TEST(Conflist, AFileThatIsNoMoreTheFirstIsAsItWas) {
    Folder now = installed({{"10-x.conflist", list(bridge)}});
    now["05-new.conflist"] = list(R"({"type": "ptp"})");
    now = installed(now);
    EXPECT_EQ(plugins(now.at("05-new.conflist")).size(), 2U);
    EXPECT_TRUE(same(now.at("10-x.conflist"), list(bridge)));

    now = installed({{"10-x.conf", single}});
    now["05-new.conflist"] = list(R"({"type": "ptp"})");
    now = installed(now);
    EXPECT_EQ(now.size(), 2U);
    EXPECT_EQ(now.at("10-x.conf"), single);
}

TEST(Conflist, WhatCannotBeChainedIsSaidAndLeftAlone) {
    struct Row {
        std::string name;
        std::string text;
        std::string fault;
    };
    std::string many = bridge;
    for (size_t i = 0; i < conf_plugins_max; ++i)
        many += "," + bridge;
    const std::vector<Row> rows = {
        {"10-x.conflist", list(bridge, "0.2.0"), "cannot be chained"},
        {"10-x.conflist", R"({"name": "n", "plugins": [{"type": "a"}]})", "cannot be chained"},
        {"10-x.conf", R"({"cniVersion": "0.1.0", "name": "n", "type": "a"})", "cannot be chained"},
        {"10-x.conf", R"({"cniVersion": "1.0.0", "type": "a"})", "no name"},
        {"10-x.conf", R"({"cniVersion": "1.0.0", "name": "n", "type": "weft-cni"})", "weft-cni alone"},
        {"10-x.conflist", list(many), "too many plugins"},
    };
    for (const Row& row : rows) {
        const ConfPlan plan = install({{row.name, row.text}, {"20-y.conflist", list(bridge)}});
        EXPECT_EQ(plan.active, row.name);
        EXPECT_NE(plan.fault.find(row.fault), std::string::npos) << plan.fault;
        EXPECT_TRUE(plan.edits.empty());
    }
    const ConfPlan link = plan_install({{.name = "10-x.conflist", .text = "", .fault = "is a link"},
                                        {.name = "20-y.conflist", .text = list(bridge + "," + ours)}},
                                       {}, entry);
    EXPECT_EQ(link.active, "10-x.conflist");
    EXPECT_EQ(link.fault, "is a link");
    ASSERT_EQ(link.edits.size(), 1U); // an entry where it does not belong goes all the same
    EXPECT_EQ(link.edits[0].name, "20-y.conflist");

    const ConfPlan taken = install({{"10-x.conf", single}, {"10-x.conflist", list(bridge)}});
    EXPECT_NE(taken.fault.find("there already"), std::string::npos);
    EXPECT_TRUE(taken.edits.empty());
    // One that has our entry, but was made of something else or has been changed since, is somebody's, too.
    for (const std::string& plugins : {bridge + "," + ours, single + "," + bridge + "," + ours})
        EXPECT_NE(install({{"10-x.conf", single}, {"10-x.conflist", list(plugins, "0.4.0")}}).fault, "") << plugins;
}

TEST(Conflist, RemovalTouchesOnlyFilesWithOurEntry) {
    const Folder others = {{"05.conflist", "{"}, {"10-x.conflist", list(bridge)}, {"20.conf", single}};
    EXPECT_EQ(removed(others), others);
    Folder now = others;
    now["30.conflist"] = list(bridge + "," + ours);
    now["40.conflist"] = list(ours);
    now = removed(now);
    EXPECT_TRUE(same(now.at("30.conflist"), list(bridge)));
    EXPECT_TRUE(plugins(now.at("40.conflist")).empty());
}

} // namespace
} // namespace weft::agent::cni
