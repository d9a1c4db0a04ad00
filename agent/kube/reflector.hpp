// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "agent/kube/backoff.hpp"
#include "agent/kube/discovery.hpp"
#include "agent/source/store_update.hpp"

namespace weft::agent::kube {

inline constexpr size_t page_objects = 250; ///< asked for at a time; fewer where they are too large
/// Of a page's JSON. To read it takes up to sixteen times as much memory, if it is made for that (a list of numbers).
inline constexpr size_t page_bytes_max = 8U << 20U;
/// Of one line of a watch, and of a page of one object: what etcd takes (1.5 MiB), in JSON up to six times as long.
inline constexpr size_t event_bytes_max = 10U << 20U;
inline constexpr size_t error_bytes_max = 16U << 10U;       ///< kept of an answer that is an error
inline constexpr uint64_t retry_unreachable_max_ms = 1'000; ///< no connection: nobody is burdened by a try
inline constexpr uint64_t retry_max_ms = 30'000;            ///< an answer that is an error
inline constexpr uint64_t absent_retry_max_ms = 10'000;     ///< the kind's CRD is not there
inline constexpr uint64_t watch_pause_ms = 1'000;           ///< at least, from one watch to the next
inline constexpr uint64_t watch_lived_ms = 5'000;           ///< one that breaks then is no failure in a row
inline constexpr uint64_t gone_pause_ms = 800;              ///< at most, before what is forgotten is listed anew
inline constexpr uint64_t watch_min_s = 300;                ///< asked for; up to twice as long, by chance

/// How one request ended.
struct Outcome {
    int status = 0;    ///< of HTTP; 0: there was no answer
    std::string error; ///< what broke the connection or the transfer; empty: it is whole
    std::optional<uint64_t> retry_after_ms;
};

using Change = std::variant<ObjectChange, KindListed>;

/// Keeps up with the objects of one kind by list and watch, as client-go's reflector does: a list in pages, then a
/// watch from the list's resourceVersion, again and again; a new list only when the server has forgotten that version
/// (410). What is known stays known while nothing can be learnt. Pure: the owner sends the requests and brings the time
/// and the pieces of the answers.
///
///   listing ──last page──▶ watching ──end, error──▶ watching again, from the last version seen
///     ▲  │ ▲──────── 410 ────┘
///     │  │ 404 at every version of the API
///     │  ▼
///     └── searching ──its discovery has no such kind──▶ absent: listing again later
///                   ──else──▶ a failure as any other
///
/// A 404 alone says nothing: a load balancer or a proxy before the API server answers so too, and a policy that is
/// taken for absent is traffic without it.
class Reflector {
public:
    Reflector(const KindInfo& kind, uint64_t seed);

    struct Ask {
        std::string path; ///< and query
        bool watch = false;
    };
    /// What to ask now; then take_piece() and ended() for it. nullopt: something is under way, or it is not due.
    [[nodiscard]] std::optional<Ask> next(uint64_t now_ms);
    /// When next() will have something, if nothing is under way.
    [[nodiscard]] uint64_t due_ms() const { return due_ms_; }

    /// The head of the answer is there: a watch that nothing happens to says no more for a long time.
    void began(int status, uint64_t now_ms);
    /// A piece of the body. False: enough, it is not what was asked for or too much; the owner ends the request.
    [[nodiscard]] bool take_piece(int status, std::string_view piece, uint64_t now_ms);
    void ended(const Outcome& outcome, uint64_t now_ms);

    /// What was learnt since the last call, in order.
    [[nodiscard]] std::vector<Change> take_changes();

    [[nodiscard]] const KindInfo& kind() const { return kind_; }
    /// Listed at least once, or not there at all by the API server's word: what is known is all there was then.
    [[nodiscard]] bool synced() const { return synced_; }
    [[nodiscard]] bool absent() const { return absent_; }
    /// Why the last request failed; empty: it did not. Without times or counts, so that it changes only when the cause
    /// does.
    [[nodiscard]] const std::string& fault() const { return fault_; }
    /// Objects that could not even be named: kept out, and said.
    [[nodiscard]] const std::vector<std::string>& nameless() const { return nameless_; }
    [[nodiscard]] uint64_t last_heard_ms() const { return last_heard_ms_; }
    [[nodiscard]] uint64_t failures() const { return failures_total_; } ///< since the start
    [[nodiscard]] uint64_t lists() const { return lists_; }
    [[nodiscard]] size_t objects() const { return objects_; }
    /// Everything up to there is among the changes that were taken, or to be taken now. 0: nothing, or no number.
    [[nodiscard]] uint64_t resource_version() const;

private:
    enum class State : uint8_t { listing, searching, watching };

    [[nodiscard]] std::string collection() const;
    [[nodiscard]] size_t answer_bytes_max() const { return page_limit_ > 1 ? page_bytes_max : event_bytes_max; }
    [[nodiscard]] Ask ask();
    void end_page(const Outcome& outcome, uint64_t now_ms);
    [[nodiscard]] bool read_page(Value& page);
    void take_page(const Value& page, uint64_t now_ms);
    void end_watch(const Outcome& outcome, uint64_t now_ms);
    void is_gone(uint64_t now_ms);
    [[nodiscard]] bool take_event(std::string_view line);
    void take_object(const std::string& type, const Value& object, const std::string& kept_out);
    void parse(const Value& object, const std::string& kept_out, std::vector<ParsedObject>& out);
    void list_anew();
    void not_found(const Outcome& outcome, uint64_t now_ms);
    void end_search(const Outcome& outcome, uint64_t now_ms);
    void is_absent(uint64_t now_ms);
    void failed(const Outcome& outcome, uint64_t now_ms);
    void retry_later(uint64_t now_ms, uint64_t most_ms, std::optional<uint64_t> retry_after_ms);
    void worked(uint64_t now_ms);
    [[nodiscard]] std::string version() const;

    const KindInfo& kind_;
    Backoff backoff_;
    State state_ = State::listing;
    bool under_way_ = false;
    bool synced_ = false;
    bool absent_ = false;
    size_t version_ = 0;               ///< of kind_.versions
    std::optional<KindSearch> search_; ///< while searching
    std::string resource_version_;
    std::string continue_;             ///< token of the next page; empty: the first
    std::vector<ParsedObject> listed_; ///< of the pages so far
    LabelPool labels_;                 ///< of Pods
    std::string buffer_;               ///< of the page, or of a line that is not whole
    std::string error_body_;
    size_t page_limit_ = page_objects;
    std::string content_fault_; ///< what is wrong with the answer, or what a watch said that is over
    bool too_large_ = false;    ///< ... the page's bytes
    bool unreadable_ = false;   ///< ... an event, which would come again from the same version
    bool gone_ = false;         ///< ... the watch's version is forgotten
    std::vector<Change> changes_;
    std::vector<std::string> nameless_;
    std::string fault_;
    uint64_t due_ms_ = 0;
    uint64_t asked_ms_ = 0;     ///< the last request began
    bool watch_failed_ = false; ///< a watch was among the failures in a row: a list that works says nothing about it
    uint64_t failures_total_ = 0;
    uint64_t lists_ = 0;
    uint64_t last_heard_ms_ = 0;
    size_t objects_ = 0; ///< of the last list
};

} // namespace weft::agent::kube
