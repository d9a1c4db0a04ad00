// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/reflector.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "agent/source/limits.hpp"

namespace weft::agent::kube {
namespace {

const KindInfo& kind(std::string_view name) {
    return *std::ranges::find(kinds_read(), name, &KindInfo::kind);
}

std::string service(const std::string& name, const std::string& version, const std::string& more = "") {
    return R"({"metadata":{"name":")" + name + R"(","namespace":"default","resourceVersion":")" + version +
           R"(","managedFields":[{"a":1}]},"spec":{"ports":[{"port":80}])" + more + "}}";
}

std::string list(const std::string& version, const std::string& items, const std::string& next = "") {
    return R"({"kind":"ServiceList","metadata":{"resourceVersion":")" + version + R"(","continue":")" + next +
           R"("},"items":[)" + items + "]}";
}

std::string event(const std::string& type, const std::string& object) {
    return R"({"type":")" + type + R"(","object":)" + object + "}\n";
}

/// A reflector and the clock of its owner.
struct Subject {
    explicit Subject(std::string_view kind_name = "Service") : reflector(kind(kind_name), 1) {}

    std::string ask() {
        const auto asked = reflector.next(now_ms);
        return asked ? asked->path : "";
    }
    /// What it asks as soon as it is due.
    std::string ask_when_due() {
        now_ms = std::max(now_ms, reflector.due_ms());
        return ask();
    }
    void answer(const std::string& body, int status = 200, const std::string& error = "") {
        static_cast<void>(reflector.take_piece(status, body, now_ms));
        reflector.ended({.status = status, .error = error, .retry_after_ms = {}}, now_ms);
    }
    void unreachable() { reflector.ended({.status = 0, .error = "refused", .retry_after_ms = {}}, now_ms); }
    void listed(const std::string& version, const std::string& items) {
        ask_when_due();
        answer(list(version, items));
        static_cast<void>(reflector.take_changes());
    }
    /// "=a,b" a list, "+a" a change, "-a" deleted.
    std::string changes() {
        std::string out;
        for (const Change& change : reflector.take_changes()) {
            if (const auto* all = std::get_if<KindListed>(&change)) {
                out += "=";
                for (const ParsedObject& object : all->objects)
                    out += object.name.name + ",";
            } else {
                const auto& one = std::get<ObjectChange>(change);
                out += (one.deleted ? "-" : one.object.faults.empty() ? "+" : "!") + one.object.name.name;
            }
        }
        return out;
    }

    uint64_t now_ms = 1'000;
    Reflector reflector;
};

TEST(Reflector, lists_in_pages_then_watches_from_the_lists_version) {
    Subject s;
    EXPECT_EQ(s.ask(), "/api/v1/services?limit=250");
    EXPECT_EQ(s.ask(), "") << "one request at a time";
    s.answer(list("70", service("a", "1"), "to+k/n="));
    EXPECT_FALSE(s.reflector.synced());
    EXPECT_EQ(s.changes(), "");
    EXPECT_EQ(s.ask(), "/api/v1/services?limit=250&continue=to%2Bk%2Fn%3D");
    s.answer(list("70", service("b", "2")));
    EXPECT_TRUE(s.reflector.synced());
    EXPECT_EQ(s.changes(), "=a,b,");
    EXPECT_TRUE(
        s.ask().starts_with("/api/v1/services?watch=true&allowWatchBookmarks=true&resourceVersion=70&timeoutSeconds="));
}

TEST(Reflector, tells_up_to_which_version_everything_is_known) {
    Subject s;
    EXPECT_EQ(s.reflector.resource_version(), 0U);
    s.ask_when_due();
    s.answer(list("70", service("a", "60"), "next"));
    EXPECT_EQ(s.reflector.resource_version(), 0U) << "half a list";
    s.ask_when_due();
    s.answer(list("70", service("b", "65")));
    EXPECT_EQ(s.reflector.resource_version(), 70U);
    s.ask_when_due();
    static_cast<void>(s.reflector.take_piece(200, event("MODIFIED", service("a", "80")), s.now_ms));
    EXPECT_EQ(s.reflector.resource_version(), 80U);
    static_cast<void>(
        s.reflector.take_piece(200, event("BOOKMARK", R"({"metadata":{"resourceVersion":"95"}})"), s.now_ms));
    EXPECT_EQ(s.reflector.resource_version(), 95U);
}

TEST(Reflector, groups_have_paths_of_their_own) {
    EXPECT_EQ(Subject("HTTPRoute").ask(), "/apis/gateway.networking.k8s.io/v1/httproutes?limit=250");
    EXPECT_EQ(Subject("EndpointSlice").ask(), "/apis/discovery.k8s.io/v1/endpointslices?limit=250");
}

TEST(Reflector, takes_events_cut_at_every_byte) {
    const std::string events = event("ADDED", service("b", "71")) + event("MODIFIED", service("a", "72")) + "\n" +
                               event("DELETED", service("b", "73")) +
                               event("BOOKMARK", R"({"metadata":{"resourceVersion":"80"}})");
    for (size_t cut = 0; cut <= events.size(); ++cut) {
        Subject s;
        s.listed("70", service("a", "1"));
        ASSERT_NE(s.ask(), "");
        ASSERT_TRUE(s.reflector.take_piece(200, events.substr(0, cut), s.now_ms));
        ASSERT_TRUE(s.reflector.take_piece(200, events.substr(cut), s.now_ms));
        EXPECT_EQ(s.changes(), "+b+a-b");
        s.reflector.ended({.status = 200, .error = "", .retry_after_ms = {}}, s.now_ms);
        EXPECT_NE(s.ask_when_due().find("resourceVersion=80&"), std::string::npos);
    }
}

TEST(Reflector, a_refused_object_is_told_with_its_fault) {
    Subject s("AuthorizationPolicy");
    s.listed("1", "");
    s.ask_when_due();
    s.answer(event("ADDED", R"({"metadata":{"name":"p","namespace":"default","resourceVersion":"2"},)"
                            R"("spec":{"unheard":true}})"));
    EXPECT_EQ(s.changes(), "!p");
}

TEST(Reflector, fields_of_a_newer_kubernetes_refuse_nothing) {
    Subject s;
    s.ask_when_due();
    s.answer(list("1", service("a", "1", R"(,"fieldOfTheFuture":{"x":[1]})")));
    const auto changes = s.reflector.take_changes();
    ASSERT_EQ(changes.size(), 1U);
    EXPECT_TRUE(std::get<KindListed>(changes[0]).objects.at(0).faults.empty());
}

TEST(Reflector, a_forgotten_version_is_listed_anew_and_what_is_known_stays_until_then) {
    for (const bool by_event : {true, false}) {
        Subject s;
        s.listed("70", service("a", "1"));
        s.ask_when_due();
        if (by_event)
            s.answer(event("ERROR", R"({"kind":"Status","code":410,"message":"too old"})"));
        else
            s.answer("", 410);
        EXPECT_EQ(s.changes(), "");
        EXPECT_TRUE(s.reflector.synced());
        EXPECT_GE(s.reflector.due_ms(), s.now_ms + gone_pause_ms / 2) << "the watch had only begun";
        EXPECT_LE(s.reflector.due_ms(), s.now_ms + gone_pause_ms) << "soon";
        EXPECT_EQ(s.ask_when_due(), "/api/v1/services?limit=250");
        s.answer(list("90", service("c", "1")));
        EXPECT_EQ(s.changes(), "=c,");
    }
}

TEST(Reflector, an_expired_page_begins_the_list_anew) {
    Subject s;
    s.ask();
    s.answer(list("70", service("a", "1"), "next"));
    s.ask_when_due();
    s.answer(R"({"message":"expired"})", 410);
    EXPECT_EQ(s.ask_when_due(), "/api/v1/services?limit=250");
    s.answer(list("71", service("b", "1")));
    EXPECT_EQ(s.changes(), "=b,");
}

TEST(Reflector, an_unreachable_server_is_tried_again_within_a_second_and_an_unwilling_one_less_and_less_often) {
    Subject s;
    s.listed("70", service("a", "1"));
    for (int i = 0; i < 20; ++i) {
        ASSERT_NE(s.ask_when_due(), "");
        s.unreachable();
        EXPECT_GT(s.reflector.due_ms(), s.now_ms);
        EXPECT_LE(s.reflector.due_ms(), s.now_ms + retry_unreachable_max_ms);
    }
    EXPECT_EQ(s.reflector.fault(), "refused");
    uint64_t longest = 0;
    for (int i = 0; i < 20; ++i) {
        s.ask_when_due();
        s.answer(R"({"kind":"Status","message":"no rights"})", 403);
        longest = std::max(longest, s.reflector.due_ms() - s.now_ms);
    }
    EXPECT_GE(longest, retry_max_ms / 2);
    EXPECT_LE(longest, retry_max_ms);
    EXPECT_EQ(s.reflector.fault(), "HTTP status 403: no rights");
    s.ask_when_due();
    s.reflector.began(403, s.now_ms);
    EXPECT_NE(s.reflector.fault(), "");
    s.reflector.began(200, s.now_ms);
    EXPECT_EQ(s.reflector.fault(), "");
    EXPECT_EQ(s.changes(), "");
}

TEST(Reflector, a_server_that_is_back_and_not_ready_is_asked_again_soon) {
    Subject s;
    s.listed("70", "");
    for (int i = 0; i < 100; ++i) {
        s.ask_when_due();
        s.unreachable();
    }
    const uint64_t back_ms = s.now_ms;
    for (int i = 0; i < 4; ++i) {
        s.ask_when_due();
        s.answer("", 503);
    }
    EXPECT_LE(s.reflector.due_ms() - back_ms, 3'000U);
}

TEST(Reflector, heeds_the_time_that_the_server_asks_for_up_to_a_limit) {
    Subject s;
    s.ask();
    s.reflector.ended({.status = 429, .error = "", .retry_after_ms = 700}, s.now_ms);
    EXPECT_GE(s.reflector.due_ms(), s.now_ms + 700);
    Subject starting;
    starting.ask();
    starting.reflector.ended({.status = 503, .error = "", .retry_after_ms = 7'000}, starting.now_ms);
    EXPECT_EQ(starting.reflector.due_ms(), starting.now_ms + retry_after_max_ms);
}

TEST(Reflector, a_server_that_ends_watches_at_once_is_not_asked_in_a_loop) {
    Subject s;
    s.listed("70", "");
    s.ask_when_due();
    s.answer("");
    EXPECT_GE(s.reflector.due_ms(), s.now_ms + watch_pause_ms);
}

/// Watches until `end` has ended one, again and again. Returns the shortest and the longest wait for the next request.
template <class End>
std::pair<uint64_t, uint64_t> waits(Subject& s, int times, End&& end) {
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (int i = 0; i < times; ++i) {
        while (s.ask_when_due().find("watch=true") == std::string::npos)
            s.answer(list("70", ""));
        s.reflector.began(200, s.now_ms);
        end();
        least = std::min(least, s.reflector.due_ms() - s.now_ms);
        most = std::max(most, s.reflector.due_ms() - s.now_ms);
    }
    return {least, most};
}

TEST(Reflector, a_watch_that_breaks_at_once_is_not_asked_for_in_a_loop) {
    Subject s;
    s.listed("70", "");
    const auto broken = [&] { s.reflector.ended({.status = 200, .error = "reset", .retry_after_ms = {}}, s.now_ms); };
    const auto [least, most] = waits(s, 20, broken);
    EXPECT_GE(least, watch_pause_ms);
    EXPECT_LE(most, 2 * watch_pause_ms) << "it may be a server that starts";
    const auto [soonest, latest] = waits(s, 5, [&] {
        s.now_ms += watch_lived_ms;
        broken();
    });
    EXPECT_LE(latest, retry_min_ms) << "it has lived: the server may be back at once";
    EXPECT_GT(soonest, 0U);
}

TEST(Reflector, answers_that_cannot_be_read_and_errors_of_a_watch_are_asked_for_less_and_less_often) {
    for (const std::string& line :
         {std::string("<html>\n"), std::string("{}\n"), event("ADDED", service("a", "80")) + "<html>\n",
          event("ERROR", R"({"kind":"Status","code":500,"message":"etcd"})"),
          event("ERROR", R"({"kind":"Status","code":410,"message":"too old"})")}) {
        Subject s;
        s.listed("70", "");
        const auto [least, most] = waits(s, 20, [&] { s.answer(line); });
        EXPECT_GE(least, gone_pause_ms / 2) << line;
        EXPECT_GE(most, retry_max_ms / 2) << line;
        EXPECT_LE(most, retry_max_ms) << line;
    }
    for (const std::string& page : {std::string("<html>"), std::string("{}")}) {
        Subject s;
        for (int i = 0; i < 20; ++i) {
            s.ask_when_due();
            s.answer(page);
        }
        EXPECT_GE(s.reflector.due_ms() - s.now_ms, retry_max_ms / 2) << page;
    }
    Subject s; // one that works ends it
    s.listed("70", "");
    waits(s, 20, [&] { s.answer("<html>\n"); });
    waits(s, 1, [&] {
        s.now_ms += watch_lived_ms;
        s.answer("");
    });
    EXPECT_LE(waits(s, 1, [&] { s.answer("<html>\n"); }).second, 2 * watch_pause_ms);
}

TEST(Reflector, an_event_that_cannot_be_read_is_not_met_again) {
    Subject s;
    s.listed("70", service("a", "1"));
    s.ask_when_due();
    s.answer("<html>\n");
    EXPECT_EQ(s.ask_when_due(), "/api/v1/services?limit=250");
    EXPECT_TRUE(s.reflector.synced());
    EXPECT_EQ(s.changes(), "");
    s.answer(list("90", service("b", "80")));
    EXPECT_EQ(s.changes(), "=b,");
}

TEST(Reflector, a_page_too_large_is_asked_for_in_smaller_ones) {
    Subject s;
    s.ask();
    s.answer(list("70", service("a", "1"), "next"));
    static_cast<void>(s.ask_when_due());
    const auto too_much = [&](size_t most) {
        const std::string piece(1U << 20U, ' ');
        size_t taken = 0;
        while (s.reflector.take_piece(200, piece, s.now_ms))
            ASSERT_LE(taken += piece.size(), most);
        s.reflector.ended({.status = 200, .error = "", .retry_after_ms = {}}, s.now_ms);
    };
    for (const char* limit : {"125", "62", "31", "15", "7", "3", "1"}) {
        too_much(page_bytes_max);
        EXPECT_EQ(s.ask(), std::string("/api/v1/services?limit=") + limit + "&continue=next");
    }
    too_much(event_bytes_max); // an object may be as large in a list as in a watch
    EXPECT_NE(s.reflector.fault().find("more than 10485760"), std::string::npos) << "smaller is none";
    EXPECT_GT(s.reflector.due_ms(), s.now_ms);
    std::string names;
    for (const char* limit : {"1",  "2",  "3",  "4",  "6",  "8",   "11",  "14",  "18",  "23",  "29",
                              "37", "47", "59", "74", "93", "117", "147", "184", "231", "250", "250"}) {
        EXPECT_EQ(s.ask_when_due(), std::string("/api/v1/services?limit=") + limit + "&continue=next");
        s.answer(list("70", service("b" + std::string(limit), "1"), "next"));
        EXPECT_EQ(s.reflector.fault(), "");
        names += "b" + std::string(limit) + ",";
    }
    s.ask_when_due();
    s.answer(list("70", service("c", "1")));
    EXPECT_EQ(s.changes(), "=a," + names + "c,");
}

TEST(Reflector, a_page_that_breaks_is_taken_once) {
    Subject s;
    s.ask();
    s.answer(list("70", service("a", "1"), "next"));
    s.ask_when_due();
    const std::string page = list("70", R"({"metadata":{}},)" + service("b", "1"));
    s.answer(page.substr(0, page.size() - 1));
    EXPECT_NE(s.reflector.fault(), "");
    s.ask_when_due();
    s.answer(page);
    EXPECT_EQ(s.changes(), "=a,b,");
    EXPECT_EQ(s.reflector.nameless().size(), 1U);
}

std::string oversized(const std::string& name, const std::string& version) {
    std::string labels;
    for (size_t i = 0; i < limits::nodes_per_object_max; ++i)
        labels += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":1";
    return R"({"metadata":{"labels":{)" + labels + R"(},"name":")" + name +
           R"(","namespace":"default","uid":"u","resourceVersion":")" + version + R"("},"spec":{}})";
}

TEST(Reflector, an_object_too_large_is_kept_out_and_named) {
    Subject s;
    s.ask();
    s.answer(list("70", service("a", "1") + "," + oversized("big", "2") + "," + service("c", "3")));
    EXPECT_TRUE(s.reflector.synced());
    EXPECT_EQ(s.reflector.fault(), "");
    auto changes = s.reflector.take_changes();
    const auto& objects = std::get<KindListed>(changes.at(0)).objects;
    ASSERT_EQ(objects.size(), 3U);
    EXPECT_EQ(objects[1].name.name, "big");
    EXPECT_NE(objects[1].faults.at(0).message.find("more than"), std::string::npos);
    EXPECT_EQ(objects[1].revision.uid, "u");
    EXPECT_TRUE(objects[0].faults.empty() && objects[2].faults.empty());

    s.ask_when_due();
    ASSERT_TRUE(s.reflector.take_piece(200,
                                       event("MODIFIED", oversized("a", "80")) + event("ADDED", service("d", "81")) +
                                           event("DELETED", oversized("big", "82")),
                                       s.now_ms));
    EXPECT_EQ(s.changes(), "!a+d-big");
    EXPECT_EQ(s.reflector.resource_version(), 82U);
    EXPECT_EQ(s.reflector.fault(), "");

    Subject nameless;
    nameless.ask();
    const std::string object = oversized("", "2");
    nameless.answer(list("70", object + "," + service("c", "3")));
    EXPECT_EQ(nameless.changes(), "=c,");
    ASSERT_EQ(nameless.reflector.nameless().size(), 1U);
    EXPECT_NE(nameless.reflector.nameless()[0].find("more than"), std::string::npos);
}

const std::string groups_without =
    R"({"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"apps","versions":[{"version":"v1"}]}]})";

std::string groups_with(const std::string& group, std::initializer_list<std::string> versions) {
    std::string list;
    for (const std::string& version : versions)
        list += (list.empty() ? "" : ",") + (R"({"groupVersion":"x","version":")" + version + R"("})");
    return R"({"kind":"APIGroupList","groups":[{"name":"apps","versions":[{"version":"v1"}]},{"name":")" + group +
           R"(","versions":[)" + list + "]}]}";
}

std::string resources(const std::string& group_version, const std::string& name) {
    return R"({"kind":"APIResourceList","groupVersion":")" + group_version + R"(","resources":[{"name":")" + name +
           R"("}]})";
}

/// Both versions of the API are answered 404.
void answer_404(Subject& s) {
    for (const char* version : {"/v1/", "/v1beta1/"}) {
        EXPECT_NE(s.ask_when_due().find(version), std::string::npos);
        s.answer("404 page not found", 404);
    }
}

TEST(Reflector, a_kind_that_is_nowhere_is_absent_and_asked_for_again) {
    Subject s("HTTPRoute");
    answer_404(s);
    EXPECT_FALSE(s.reflector.absent());
    EXPECT_FALSE(s.reflector.synced()) << "a 404 may be a proxy's";
    EXPECT_EQ(s.ask(), "/apis");
    s.answer(groups_without);
    EXPECT_TRUE(s.reflector.absent());
    EXPECT_TRUE(s.reflector.synced());
    EXPECT_EQ(s.reflector.fault(), "");
    EXPECT_LE(s.reflector.due_ms(), s.now_ms + absent_retry_max_ms);
    for (int i = 0; i < 20; ++i) { // what is known to be absent needs no discovery
        answer_404(s);
        EXPECT_TRUE(s.reflector.absent());
        EXPECT_GT(s.reflector.due_ms(), s.now_ms);
        EXPECT_LE(s.reflector.due_ms(), s.now_ms + absent_retry_max_ms);
    }
    for (int i = 0; i < 20; ++i) { // nor does an error make it wait longer: the CRD may be installed meanwhile
        s.ask_when_due();
        s.answer("", 503);
        EXPECT_LE(s.reflector.due_ms(), s.now_ms + absent_retry_max_ms);
    }
    s.ask_when_due();
    s.answer(list("5", ""));
    EXPECT_FALSE(s.reflector.absent());
    EXPECT_EQ(s.changes(), "=");
}

TEST(Reflector, a_group_without_the_kind_is_asked_version_by_version) {
    Subject s("HTTPRoute");
    const std::string group = "gateway.networking.k8s.io";
    answer_404(s);
    ASSERT_EQ(s.ask(), "/apis");
    s.answer(groups_with(group, {"v1", "v1beta1", "v1alpha9"}));
    EXPECT_FALSE(s.reflector.synced());
    ASSERT_EQ(s.ask(), "/apis/" + group + "/v1beta1");
    s.answer(resources(group + "/v1beta1", "gateways"));
    EXPECT_FALSE(s.reflector.synced());
    ASSERT_EQ(s.ask(), "/apis/" + group + "/v1");
    s.answer(resources(group + "/v1", "httproutes/status"));
    EXPECT_TRUE(s.reflector.absent());
    EXPECT_TRUE(s.reflector.synced());

    Subject other("HTTPRoute"); // no version of it that could have the kind
    answer_404(other);
    other.ask();
    other.answer(groups_with(group, {"v2"}));
    EXPECT_TRUE(other.reflector.absent());
}

TEST(Reflector, a_404_that_discovery_does_not_confirm_is_a_failure) {
    const std::string group = "security.istio.io";
    const auto begin = [](Subject& s) {
        answer_404(s);
        ASSERT_EQ(s.ask(), "/apis");
    };
    const auto expect_failed = [](Subject& s, const std::string& what) {
        EXPECT_FALSE(s.reflector.synced()) << what;
        EXPECT_FALSE(s.reflector.absent()) << what;
        EXPECT_NE(s.reflector.fault(), "") << what;
        EXPECT_GT(s.reflector.due_ms(), s.now_ms) << what;
        EXPECT_EQ(s.ask_when_due(), "/apis/security.istio.io/v1/authorizationpolicies?limit=250") << what;
    };
    const std::pair<int, std::string> no_groups[] = {
        {404, "404 page not found"},
        {503, ""},
        {403, R"({"kind":"Status","message":"no"})"},
        {200, "<html>"},
        {200, "{}"},
        {200, R"({"kind":"APIGroupList"})"},
        {200, R"({"kind":"APIGroupList","groups":[]})"},
        {200, R"({"kind":"APIGroupList","groups":[{"name":"security.istio.io"}]})"},
        {200, R"({"kind":"Status","groups":[{"name":"apps"}]})"}};
    for (const auto& [status, body] : no_groups) {
        Subject s("AuthorizationPolicy");
        begin(s);
        s.answer(body, status);
        expect_failed(s, body);
    }
    const std::pair<int, std::string> no_resources[] = {{404, ""},
                                                        {200, "[]"},
                                                        {200, R"({"kind":"APIResourceList","resources":[]})"},
                                                        {200, resources("other/v1", "x")},
                                                        {200, resources(group + "/v1", "authorizationpolicies")}};
    for (const auto& [status, body] : no_resources) {
        Subject s("AuthorizationPolicy");
        begin(s);
        s.answer(groups_with(group, {"v1"}));
        ASSERT_EQ(s.ask(), "/apis/" + group + "/v1");
        s.answer(body, status);
        expect_failed(s, body);
    }
    Subject s("AuthorizationPolicy");
    begin(s);
    s.unreachable();
    expect_failed(s, "unreachable");
}

TEST(Reflector, kinds_of_kubernetes_itself_are_never_absent) {
    for (const char* name : {"Service", "EndpointSlice", "Pod", "Namespace"}) {
        Subject s(name);
        s.ask();
        s.answer("404 page not found", 404);
        EXPECT_FALSE(s.reflector.synced()) << name;
        EXPECT_FALSE(s.reflector.absent()) << name;
        EXPECT_NE(s.reflector.fault().find("404"), std::string::npos) << name;
        EXPECT_GT(s.reflector.due_ms(), s.now_ms) << name;
        s.ask_when_due();
        s.answer(list("5", ""));
        EXPECT_TRUE(s.reflector.synced()) << name;
    }
}

TEST(Reflector, a_kind_that_is_gone_keeps_what_it_had) {
    Subject s("HTTPRoute");
    s.listed("70", R"({"metadata":{"name":"a","namespace":"default"},"spec":{"parentRefs":[{"name":"g"}]}})");
    s.ask_when_due();
    s.answer("", 404);
    answer_404(s);
    EXPECT_FALSE(s.reflector.absent());
    ASSERT_EQ(s.ask_when_due(), "/apis");
    s.answer(groups_without);
    EXPECT_EQ(s.changes(), "");
    EXPECT_TRUE(s.reflector.absent());
    EXPECT_NE(s.reflector.fault().find("stays in force"), std::string::npos);
}

TEST(Reflector, what_is_no_answer_of_an_api_server_is_a_fault) {
    for (const char* body : {"<html>", "{}", R"({"metadata":{}})", R"({"metadata":{"resourceVersion":"1"},)"}) {
        Subject s;
        s.ask();
        s.answer(body);
        EXPECT_NE(s.reflector.fault(), "") << body;
        EXPECT_FALSE(s.reflector.synced()) << body;
    }
    for (const char* line : {"<html>\n", "{}\n",
                             R"({"type":"ADDED","object":1})"
                             "\n"}) {
        Subject s;
        s.listed("70", service("a", "1"));
        s.ask_when_due();
        EXPECT_FALSE(s.reflector.take_piece(200, line, s.now_ms)) << line;
        s.reflector.ended({.status = 200, .error = "", .retry_after_ms = {}}, s.now_ms);
        EXPECT_NE(s.reflector.fault(), "") << line;
    }
}

TEST(Reflector, an_endless_line_is_refused) {
    Subject s;
    s.listed("70", "");
    s.ask_when_due();
    const std::string piece(1U << 20U, 'x');
    size_t taken = 0;
    while (s.reflector.take_piece(200, piece, s.now_ms))
        ASSERT_LE(taken += piece.size(), event_bytes_max);
    s.reflector.ended({.status = 200, .error = "", .retry_after_ms = {}}, s.now_ms);
    EXPECT_NE(s.reflector.fault().find("more than"), std::string::npos);
}

TEST(Reflector, pods_with_equal_labels_share_them) {
    Subject s("Pod");
    const auto pod = [](const std::string& name, const std::string& app) {
        return R"({"metadata":{"name":")" + name + R"(","namespace":"default","labels":{"app":")" + app +
               R"("},"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}",)" +
               R"("istio.io/x":"1"}},"spec":{}})";
    };
    s.ask();
    s.answer(list("1", pod("a", "web") + "," + pod("b", "web") + "," + pod("c", "db")));
    const auto changes = s.reflector.take_changes();
    const auto& listed = std::get<KindListed>(changes.at(0)).objects;
    const auto meta = [&](size_t i) { return std::get<std::shared_ptr<const Pod>>(listed.at(i).object)->meta; };
    EXPECT_TRUE(meta(0).labels.shares(meta(1).labels));
    EXPECT_EQ(meta(2).labels.at("app"), "db");
    EXPECT_EQ(meta(0).annotations, (Labels{{"istio.io/x", "1"}})) << "those of others are not kept";
}

TEST(Reflector, an_object_without_a_name_is_said_and_the_others_are_taken) {
    Subject s;
    s.ask();
    s.answer(list("1", R"({"metadata":{}},)" + service("a", "1")));
    EXPECT_EQ(s.changes(), "=a,");
    EXPECT_EQ(s.reflector.nameless().size(), 1U);
}

} // namespace
} // namespace weft::agent::kube
