// SPDX-License-Identifier: Apache-2.0
#include <netinet/in.h>
#include <sys/stat.h>

#include <array>
#include <list>
#include <set>
#include <sstream>

#include "config/base/net.hpp"
#include "tests/unit/engine/fake_engine.hpp"
#include "tests/unit/pods/lab.hpp"

namespace weft::agent::engine {
namespace {

using Case = proto::ToEngine::MessageCase;

proto::ToAgent applied(uint64_t generation) {
    proto::ToAgent message;
    message.mutable_snapshot_applied()->set_generation(generation);
    return message;
}

CapturePtr capture(const LabNetns& lab, uint32_t id) {
    auto netns = Netns::open(lab.name());
    EXPECT_TRUE(netns);
    MadeListeners made = make_listeners(*netns, {});
    EXPECT_FALSE(made.fault);
    return std::make_shared<const Capture>(
        Capture{.uid = "default/a", .id = id, .netns = *netns, .listeners = std::move(made.listeners)});
}

TEST_F(ControlTest, TheSocketIsPrivate) {
    struct stat status{};
    ASSERT_EQ(stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
    EXPECT_EQ(status.st_uid, 65532U);
}

TEST_F(ControlTest, HelloWelcomeSnapshotApplied) {
    publish(7);
    FakePeer engine(path_);
    engine.hello();
    EXPECT_EQ(engine.hear(Case::kWelcome).welcome().dial_slots(), 16U);
    EXPECT_EQ(engine.fds().size(), 2U);
    EXPECT_EQ(engine.hear(Case::kSnapshot).snapshot().generation(), 7U);
    EXPECT_EQ(next<EngineArrived>().hello.version, "fake");
    engine.say(applied(7));
    EXPECT_EQ(next<EngineApplied>().generation, 7U);
    publish(8);
    EXPECT_EQ(engine.hear(Case::kSnapshot).snapshot().generation(), 8U);
    EXPECT_TRUE(view_becomes_connected(true));
}

TEST_F(ControlTest, ConnectedEnginesHaveDisjointDialSlotsAndThereAreOnlySoMany) {
    const auto welcome = [&](FakePeer& engine) {
        engine.hello();
        return engine.hear(Case::kWelcome).welcome();
    };
    std::list<FakePeer> engines;
    std::set<uint32_t> begins;
    for (uint32_t i = 0; i < engines_max; ++i) {
        const auto given = welcome(engines.emplace_back(path_));
        EXPECT_EQ(given.dial_slots(), 16U);
        EXPECT_EQ(given.dial_slots_begin() % 16, 0U);
        EXPECT_LT(given.dial_slots_begin(), 16 * engines_max);
        begins.insert(given.dial_slots_begin());
    }
    EXPECT_EQ(begins.size(), size_t{engines_max});
    {
        FakePeer surplus(path_);
        EXPECT_NE(welcome(surplus).error().find("engines"), std::string::npos);
        EXPECT_TRUE(surplus.is_cut_off());
    }
    engines.pop_front(); // the first range is free again
    const uint64_t until = monotonic_ms() + wait_ms;
    proto::Welcome again;
    do {
        again = welcome(engines.emplace_back(path_));
    } while (!again.error().empty() && monotonic_ms() < until);
    EXPECT_EQ(again.dial_slots_begin(), *begins.begin());
    EXPECT_EQ(again.dial_slots(), 16U);
}

/// One whose connection broke may still have dials under way.
TEST_F(ControlTest, TheNextEngineDoesNotGetTheSlotsOfTheLast) {
    uint32_t before = 0;
    for (int i = 0; i < 3; ++i) {
        FakePeer engine(path_);
        engine.hello();
        const uint32_t begin = engine.hear(Case::kWelcome).welcome().dial_slots_begin();
        EXPECT_TRUE(i == 0 || begin != before);
        before = begin;
    }
}

TEST_F(ControlTest, AnotherContractIsRefusedByName) {
    FakePeer engine(path_);
    proto::ToAgent message;
    message.mutable_engine_hello()->set_contract(99);
    engine.say(message);
    EXPECT_NE(engine.hear(Case::kWelcome).welcome().error().find("99"), std::string::npos);
    EXPECT_TRUE(engine.is_cut_off());
    EXPECT_EQ(bad_messages(), 1U);
}

TEST_F(ControlTest, ASnapshotOfAnotherAgentsNumberIsNotSent) {
    publish(5);
    FakePeer engine(path_);
    engine.hello(1, 5);
    engine.hear(Case::kWelcome);
    EXPECT_EQ(next<EngineArrived>().hello.applied_generation, 5U);
    EXPECT_TRUE(engine.hears_nothing());
    publish(6);
    EXPECT_EQ(engine.hear(Case::kSnapshot).snapshot().generation(), 6U);
}

TEST_F(ControlTest, BadBytesCloseOnlyTheirConnection) {
    publish(1);
    FakePeer good(path_);
    good.hello();
    good.hear(Case::kWelcome);
    good.hear(Case::kSnapshot);
    const std::array<std::string, 5> bad = {
        std::string("\xff\xff\xff\xff", 4),           // longer than any frame
        std::string("\x04\0\0\0\xff\xff\xff\xff", 8), // no message
        std::string("\0\0\0\0", 4),                   // an empty one
        std::string("\x02\0\0\0\x3a\0", 6),           // Draining before the hello
        std::string("\x02\0\0\0\x12\0", 6),           // SnapshotApplied before the hello
    };
    for (size_t i = 0; i < bad.size(); ++i) {
        FakePeer peer(path_);
        peer.say_raw(bad[i]);
        EXPECT_TRUE(peer.is_cut_off()) << i;
        EXPECT_EQ(bad_messages(), i + 1) << i;
    }
    {
        const FakePeer truncated(path_);
        truncated.say_raw(std::string("\x10\0\0\0half", 8));
    }
    publish(2);
    EXPECT_EQ(good.hear(Case::kSnapshot).snapshot().generation(), 2U);
}

TEST_F(ControlTest, AnEngineThatBreaksTheContractIsCutOffAndMayComeBack) {
    publish(1);
    {
        FakePeer engine(path_);
        engine.hello();
        next<EngineArrived>();
        engine.say(applied(2)); // never sent
        EXPECT_TRUE(engine.is_cut_off());
        next<EngineGone>();
    }
    FakePeer again(path_);
    again.hello();
    again.hear(Case::kWelcome);
    EXPECT_EQ(again.hear(Case::kSnapshot).snapshot().generation(), 1U);
    again.hello(); // a second hello
    EXPECT_TRUE(again.is_cut_off());
    EXPECT_EQ(bad_messages(), 2U);
}

TEST_F(ControlTest, ListenersComeAfterTheSnapshotAndWork) {
    const LabNetns lab("e");
    const CapturePtr pod = capture(lab, 3);
    publish(1);
    control_->add_pod(pod);
    FakePeer engine(path_);
    engine.hello();
    engine.hear(Case::kWelcome);
    engine.hear(Case::kSnapshot);
    const auto given = engine.hear(Case::kGiveListeners).give_listeners();
    EXPECT_EQ(given.pod_id(), 3U);
    ASSERT_EQ(engine.fds().size(), 4U);
    for (int i = 0; i < 4; ++i)
        EXPECT_EQ(inspect_listener(engine.fds()[static_cast<size_t>(i)].get(), given.kinds(i))->netns_cookie,
                  pod->netns.cookie());
    control_->remove_pod(3);
    EXPECT_EQ(engine.hear(Case::kReleasePod).release_pod().pod_id(), 3U);
}

TEST_F(ControlTest, ListenersHandedBackAreJudgedAndNotGivenAgain) {
    const LabNetns lab("e1");
    const LabNetns other("e2");
    const CapturePtr pod = capture(lab, 3);
    const CapturePtr stranger = capture(other, 4);
    control_->add_pod(pod);
    FakePeer engine(path_);
    proto::ToAgent message;
    auto& hello = *message.mutable_engine_hello();
    hello.set_contract(proto::CONTRACT_VERSION);
    std::vector<int> fds;
    const auto hand_back = [&](uint32_t pod_id, uint32_t kind, int fd) {
        auto& listener = *hello.add_listeners();
        listener.set_pod_id(pod_id);
        listener.set_kind(kind);
        fds.push_back(fd);
    };
    hand_back(3, 0, pod->listeners[0].get());      // ours: not given again
    hand_back(3, 1, pod->listeners[2].get());      // another kind than it says
    hand_back(3, 2, stranger->listeners[2].get()); // another pod's namespace
    hand_back(9, 3, stranger->listeners[3].get()); // a pod that is not captured: an offer
    hand_back(0, 0, pod->listeners[0].get());      // no pod
    engine.say(message, fds);
    engine.hear(Case::kWelcome);
    const auto given = engine.hear(Case::kGiveListeners).give_listeners();
    EXPECT_EQ(std::vector<uint32_t>(given.kinds().begin(), given.kinds().end()), (std::vector<uint32_t>{1, 2, 3}));
    const EngineArrived arrived = next<EngineArrived>();
    ASSERT_EQ(arrived.offers.size(), 1U);
    EXPECT_EQ(arrived.offers[0].pod_id, 9U);
    EXPECT_EQ(arrived.offers[0].facts.netns_cookie, stranger->netns.cookie());
    EXPECT_EQ(bad_messages(), 3U);
}

TEST_F(ControlTest, AHelloMayComeInSeveralFrames) {
    const LabNetns lab("e");
    const CapturePtr pod = capture(lab, 3);
    publish(1);
    FakePeer engine(path_);
    proto::ToAgent hello;
    hello.mutable_engine_hello()->set_contract(proto::CONTRACT_VERSION);
    hello.mutable_engine_hello()->add_listeners()->set_pod_id(3);
    hello.mutable_engine_hello()->set_listeners_to_come(2);
    engine.say(hello, {pod->listeners[0].get()});
    publish(2);
    control_->add_pod(pod);
    EXPECT_TRUE(engine.hears_nothing()); // neither a welcome nor what comes behind it
    for (const uint32_t kind : {2U, 3U}) {
        proto::ToAgent more;
        auto& listener = *more.mutable_more_listeners()->add_listeners();
        listener.set_pod_id(3);
        listener.set_kind(kind);
        engine.say(more, {pod->listeners[kind].get()});
    }
    engine.hear(Case::kWelcome);
    EXPECT_EQ(engine.hear(Case::kSnapshot).snapshot().generation(), 2U);
    EXPECT_EQ(engine.hear(Case::kGiveListeners).give_listeners().kinds_size(), 1); // three are its own already
    next<EngineArrived>();
}

TEST_F(ControlTest, AHelloThatDoesNotBecomeWholeIsAnError) {
    proto::ToAgent hello;
    hello.mutable_engine_hello()->set_contract(proto::CONTRACT_VERSION);
    hello.mutable_engine_hello()->set_listeners_to_come(1);
    std::vector<proto::ToAgent> wrong(4);
    wrong[0].mutable_draining();                        // another message first
    wrong[1].mutable_more_listeners()->add_listeners(); // without a descriptor
    wrong[2] = hello;                                   // a second hello
    wrong[3].mutable_ctl();                             // something else altogether
    for (size_t i = 0; i < wrong.size(); ++i) {
        FakePeer engine(path_);
        engine.say(hello);
        engine.say(wrong[i]);
        EXPECT_TRUE(engine.is_cut_off()) << i;
        EXPECT_EQ(bad_messages(), i + 1) << i;
    }
    FakePeer engine(path_);
    hello.mutable_engine_hello()->set_listeners_to_come(1'000'000);
    engine.say(hello);
    EXPECT_TRUE(engine.is_cut_off());
    FakePeer stray(path_);
    stray.say(wrong[1]);
    EXPECT_TRUE(stray.is_cut_off());
}

TEST_F(ControlTest, FewerDescriptorsThanListenersIsAnError) {
    FakePeer engine(path_);
    proto::ToAgent message;
    message.mutable_engine_hello()->set_contract(proto::CONTRACT_VERSION);
    message.mutable_engine_hello()->add_listeners()->set_pod_id(1);
    engine.say(message);
    EXPECT_TRUE(engine.is_cut_off());
    EXPECT_EQ(bad_messages(), 1U);
}

TEST_F(ControlTest, OfTwoEnginesTheNewcomerServes) {
    const LabNetns lab("e");
    control_->add_pod(capture(lab, 3));
    FakePeer first(path_);
    first.hello(1);
    first.hear(Case::kWelcome);
    first.hear(Case::kGiveListeners);
    next<EngineArrived>();
    FakePeer second(path_);
    second.hello(2);
    second.hear(Case::kWelcome);
    second.hear(Case::kGiveListeners);
    EXPECT_EQ(first.hear(Case::kDrain).drain().timeout_ms(), Control::Settings().drain_timeout_ms);
    EXPECT_EQ(next<EngineArrived>().hello.instance, 2U);
    // What the old one says about snapshots counts no more, but policy changes still reach it.
    publish(4);
    first.hear(Case::kSnapshot);
    second.hear(Case::kSnapshot);
    first.say(applied(4));
    proto::ToAgent refused = applied(4);
    refused.mutable_snapshot_applied()->set_error("no");
    second.say(refused);
    EXPECT_EQ(next<EngineApplied>().error, "no");
}

TEST_F(ControlTest, WhileAnEngineServesOneOfAnotherGroupStandsBy) {
    start(std::nullopt, "new-pod");
    FakePeer old(path_);
    old.hello(1, 0, "old-pod");
    EXPECT_FALSE(old.hear(Case::kWelcome).welcome().standby()); // without any other it serves, whoever it is
    FakePeer early(path_);
    early.hello(9, 0, "new-pod");
    EXPECT_TRUE(early.hear(Case::kWelcome).welcome().standby()) << "there is nothing yet that it could serve with";
    publish(7);
    old.hear(Case::kSnapshot);
    next<EngineArrived>();
    FakePeer restarted(path_);
    restarted.hello(2, 0, "old-pod");
    EXPECT_TRUE(restarted.hear(Case::kWelcome).welcome().standby());
    EXPECT_TRUE(restarted.is_cut_off());
    FakePeer own(path_);
    own.hello(3, 0, "new-pod");
    EXPECT_FALSE(own.hear(Case::kWelcome).welcome().standby());
    own.hear(Case::kSnapshot);
    old.hear(Case::kDrain);
    EXPECT_EQ(next<EngineArrived>().hello.instance, 3U);
    EXPECT_EQ(counters_.total(metrics::Event::connection_refused), 2U);
    EXPECT_EQ(bad_messages(), 0U);
}

TEST_F(ControlTest, ALateEngineOfAnotherGroupFinishesWhatItHas) {
    const LabNetns lab("e");
    start(std::nullopt, "new-pod");
    FakePeer own(path_);
    own.hello(1, 0, "new-pod");
    own.hear(Case::kWelcome);
    next<EngineArrived>();
    const CapturePtr pod = capture(lab, 3);
    FakePeer late(path_);
    late.hello(2, 0, "old-pod", pod->listeners[0].get());
    EXPECT_FALSE(late.hear(Case::kWelcome).welcome().standby());
    late.hear(Case::kDrain);
    EXPECT_TRUE(own.hears_nothing());
}

TEST_F(ControlTest, TheEngineThatHasTheListenersComesFirst) {
    const LabNetns lab("e");
    start(std::nullopt, "new-pod", wait_ms);
    FakePeer own(path_);
    own.hello(1, 0, "new-pod");
    EXPECT_TRUE(own.hear(Case::kWelcome).welcome().standby());
    const CapturePtr pod = capture(lab, 3);
    FakePeer old(path_);
    old.hello(2, 0, "old-pod", pod->listeners[0].get());
    EXPECT_FALSE(old.hear(Case::kWelcome).welcome().standby());
    EXPECT_EQ(next<EngineArrived>().offers.size(), 1U);
    publish(7);
    old.hear(Case::kSnapshot);
    FakePeer again(path_);
    again.hello(1, 0, "new-pod");
    EXPECT_FALSE(again.hear(Case::kWelcome).welcome().standby());
    old.hear(Case::kDrain);
}

TEST_F(ControlTest, TheEngineThatIsAwaitedMayNeverCome) {
    start(std::nullopt, "new-pod", 50);
    for (const uint64_t deadline = monotonic_ms() + wait_ms; monotonic_ms() < deadline;) {
        FakePeer own(path_);
        own.hello(1, 0, "new-pod");
        if (!own.hear(Case::kWelcome).welcome().standby())
            return;
    }
    FAIL() << "it stands by for ever";
}

TEST_F(ControlTest, SocketsAreMadeInThePodAndMarked) {
    const LabNetns lab("e");
    const CapturePtr pod = capture(lab, 3);
    control_->add_pod(pod);
    FakePeer engine(path_);
    engine.hello();
    engine.hear(Case::kWelcome);
    engine.hear(Case::kGiveListeners);
    proto::ToAgent message;
    auto& wanted = *message.mutable_sockets_wanted();
    wanted.set_pod_id(3);
    wanted.set_worker(1);
    wanted.set_count(6);
    engine.say(message);
    const auto given = engine.hear(Case::kGiveSockets).give_sockets();
    EXPECT_EQ(given.count(), 6U);
    EXPECT_EQ(given.worker(), 1U);
    ASSERT_EQ(engine.fds().size(), 6U);
    EXPECT_EQ(marked_, 6);
    EXPECT_EQ(netns_cookie_of(engine.fds()[0].get()).value_or(0), pod->netns.cookie());
    wanted.set_pod_id(99);
    engine.say(message);
    EXPECT_FALSE(engine.hear(Case::kGiveSockets).give_sockets().error().empty());
    EXPECT_TRUE(engine.fds().empty());
}

TEST_F(ControlTest, SocketsOfAPodThatWasHandedBackAreMadeBeforeItsCapture) {
    const LabNetns lab("e");
    const CapturePtr pod = capture(lab, 3);
    FakePeer engine(path_);
    proto::ToAgent hello;
    hello.mutable_engine_hello()->set_contract(proto::CONTRACT_VERSION);
    hello.mutable_engine_hello()->add_listeners()->set_pod_id(3);
    engine.say(hello, {pod->listeners[0].get()});
    engine.hear(Case::kWelcome);
    proto::ToAgent message;
    message.mutable_sockets_wanted()->set_pod_id(3);
    message.mutable_sockets_wanted()->set_count(2);
    engine.say(message);
    EXPECT_EQ(engine.hear(Case::kGiveSockets).give_sockets().count(), 2U);
    ASSERT_EQ(engine.fds().size(), 2U);
    EXPECT_EQ(netns_cookie_of(engine.fds()[0].get()).value_or(0), pod->netns.cookie());
    EXPECT_EQ(marked_, 2);
    control_->remove_pod(3); // nobody wanted it
    engine.hear(Case::kReleasePod);
    engine.say(message);
    EXPECT_FALSE(engine.hear(Case::kGiveSockets).give_sockets().error().empty());
}

TEST_F(ControlTest, StatsAreCollectedFoldedAndNotWaitedForWithoutEnd) {
    EXPECT_TRUE(control_->collect(wait_ms)); // nobody to ask
    FakePeer engine(path_);
    engine.hello(5);
    engine.hear(Case::kWelcome);
    next<EngineArrived>();
    EXPECT_FALSE(control_->collect(50)); // asked, says nothing
    bool whole = false;
    std::jthread scrape([&] { whole = control_->collect(wait_ms); });
    engine.hear(Case::kStatsWanted);
    const uint64_t id = engine.hear(Case::kStatsWanted).stats_wanted().request_id();
    proto::ToAgent message;
    auto& report = *message.mutable_report();
    report.set_request_id(id);
    report.set_instance(5);
    auto& counter = *report.add_counters();
    counter.set_name("weft_proxy_x_total");
    counter.set_value(42);
    report.add_requests()->add_labels("too few");
    engine.say(message);
    scrape.join();
    EXPECT_TRUE(whole);
    std::ostringstream out;
    collector_.write_page(std::nullopt, {}, out);
    const std::string page = out.str();
    EXPECT_NE(page.find("\nweft_proxy_x_total 42\n"), std::string::npos);
    EXPECT_NE(page.find("\nweft_agent_engine_series_left_out_total 1\n"), std::string::npos);
    report.set_instance(6); // not this engine's
    engine.say(message);
    EXPECT_TRUE(engine.is_cut_off());
}

TEST_F(ControlTest, CtlIsAskedAndAnswered) {
    FakePeer ctl(path_);
    proto::ToAgent message;
    message.mutable_ctl()->set_verb(proto::CtlRequest::SYNC);
    message.mutable_ctl()->set_timeout_ms(1234);
    ctl.say(message);
    const CtlAsked asked = next<CtlAsked>();
    EXPECT_EQ(asked.request.verb, CtlRequest::Verb::sync);
    EXPECT_EQ(asked.request.timeout_ms, 1234U);
    control_->reply(asked.token, {.ok = false, .error = "engine not connected", .json = "{}"});
    const auto reply = ctl.hear(Case::kCtl).ctl();
    EXPECT_FALSE(reply.ok());
    EXPECT_EQ(reply.error(), "engine not connected");
    control_->reply(asked.token + 1000, {}); // nobody waits for it
}

TEST_F(ControlTest, DrainingEngineGivesWay) {
    FakePeer engine(path_);
    engine.hello();
    engine.hear(Case::kWelcome);
    next<EngineArrived>();
    proto::ToAgent message;
    message.mutable_draining();
    engine.say(message);
    next<EngineGone>();
    engine.hear(Case::kStatsWanted);
    EXPECT_TRUE(view_becomes_connected(false));
}

TEST_F(ControlTest, StopDrainsAndRemovesTheSocket) {
    FakePeer engine(path_);
    engine.hello();
    engine.hear(Case::kWelcome);
    next<EngineArrived>();
    std::jthread stop([&] { control_->stop(Control::Ending::stop_engine); });
    engine.hear(Case::kDrain);
    {
        const FakePeer gone = std::move(engine);
    }
    stop.join();
    EXPECT_NE(access(path_.c_str(), F_OK), 0);
}

} // namespace
} // namespace weft::agent::engine
