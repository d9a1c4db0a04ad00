// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/reflector.hpp"

#include <algorithm>
#include <utility>

#include "agent/source/json.hpp"

namespace weft::agent::kube {
namespace {

constexpr int ok = 200;
constexpr int not_found_status = 404;
constexpr int gone_status = 410;
constexpr size_t nameless_max = 16;

int64_t integer_member(const Value* map, std::string_view name) {
    const Value* value = map == nullptr ? nullptr : map->find(name);
    return value != nullptr && value->type == Value::Type::integer ? value->integer : 0;
}

/// `continue` tokens are base64 with characters of queries in it.
std::string query_escaped(std::string_view text) {
    static constexpr char digits[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                           c == '.' || c == '_' || c == '~';
        if (plain) {
            out += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += {'%', digits[byte >> 4U], digits[byte & 15U]};
        }
    }
    return out;
}

/// The message of the Status object that an API server answers with.
std::string message_of(const std::string& body) {
    const auto status = parse_json(body);
    return status ? text_member(&*status, "message") : "";
}

/// There are more Pods than everything else together: no room between, and one copy of equal labels.
std::shared_ptr<const Pod> lean(const Pod& pod, LabelPool& labels) {
    auto out = std::make_shared<Pod>(pod); // copies of vectors and strings have no spare room
    labels.share(out->meta.labels);
    return out;
}

} // namespace

Reflector::Reflector(const KindInfo& kind, uint64_t seed) : kind_(kind), backoff_(seed) {}

std::string Reflector::version() const {
    return kind_.versions[version_];
}

std::string Reflector::collection() const {
    const std::string base =
        *kind_.group == 0 ? "/api/" + version() : std::string("/apis/") + kind_.group + "/" + version();
    return base + "/" + kind_.plural;
}

std::optional<Reflector::Ask> Reflector::next(uint64_t now_ms) {
    if (under_way_ || now_ms < due_ms_)
        return std::nullopt;
    under_way_ = true;
    asked_ms_ = now_ms;
    buffer_.clear();
    error_body_.clear();
    content_fault_.clear();
    too_large_ = unreadable_ = gone_ = false;
    return ask();
}

Reflector::Ask Reflector::ask() {
    switch (state_) {
    case State::listing: {
        std::string path = collection() + "?limit=" + std::to_string(page_limit_);
        if (!continue_.empty())
            path += "&continue=" + query_escaped(continue_);
        return {.path = std::move(path), .watch = false};
    }
    case State::searching: return {.path = search_->path(), .watch = false};
    case State::watching: break;
    }
    // By chance, or all watches of all nodes would end together, again and again.
    const uint64_t seconds = backoff_.by_chance(watch_min_s, watch_min_s * 2 - 1);
    return {.path = collection() + "?watch=true&allowWatchBookmarks=true&resourceVersion=" +
                    query_escaped(resource_version_) + "&timeoutSeconds=" + std::to_string(seconds),
            .watch = true};
}

void Reflector::began(int status, uint64_t now_ms) {
    if (status == ok && state_ == State::watching)
        worked(now_ms);
}

bool Reflector::take_piece(int status, std::string_view piece, uint64_t now_ms) {
    if (status != ok) {
        error_body_ += piece.substr(0, error_bytes_max - std::min(error_body_.size(), error_bytes_max));
        return true;
    }
    last_heard_ms_ = now_ms;
    const size_t had = buffer_.size();
    buffer_ += piece;
    if (state_ != State::watching) {
        if (buffer_.size() <= answer_bytes_max())
            return true;
        too_large_ = true;
        content_fault_ = "a page of more than " + std::to_string(answer_bytes_max()) + " bytes";
        return false;
    }
    size_t from = 0;
    for (size_t end = buffer_.find('\n', had); end != std::string::npos; end = buffer_.find('\n', from)) {
        if (!take_event(std::string_view(buffer_).substr(from, end - from)))
            return false;
        from = end + 1;
    }
    buffer_.erase(0, from);
    if (buffer_.size() <= event_bytes_max)
        return true;
    unreadable_ = true;
    content_fault_ = "an event of more than " + std::to_string(event_bytes_max) + " bytes";
    return false;
}

void Reflector::ended(const Outcome& outcome, uint64_t now_ms) {
    under_way_ = false;
    switch (state_) {
    case State::listing: end_page(outcome, now_ms); break;
    case State::searching: end_search(outcome, now_ms); break;
    case State::watching: end_watch(outcome, now_ms); break;
    }
    buffer_ = {};
}

// ------------------------------------------------------------------ list

void Reflector::end_page(const Outcome& outcome, uint64_t now_ms) {
    if (outcome.status == not_found_status)
        return not_found(outcome, now_ms);
    if (outcome.status == gone_status && !continue_.empty()) { // the token has expired: from the first page
        list_anew();
        backoff_.failed(true);
        return retry_later(now_ms, retry_max_ms, outcome.retry_after_ms);
    }
    if (too_large_ && page_limit_ > 1) { // the same page, of fewer objects
        page_limit_ /= 2;
        due_ms_ = now_ms;
        return;
    }
    Value page;
    if (outcome.status != ok || !outcome.error.empty() || !content_fault_.empty() || !read_page(page))
        return failed(outcome, now_ms);
    take_page(page, now_ms);
}

/// False: it is none, and nothing was learnt.
bool Reflector::read_page(Value& page) {
    if (continue_.empty()) {
        listed_.clear();
        nameless_.clear();
    }
    const size_t listed_before = listed_.size();
    const size_t nameless_before = nameless_.size();
    auto read = parse_json_objects(
        buffer_, [&](const Value& item, const std::string& kept_out) { parse(item, kept_out, listed_); });
    if (!read)
        content_fault_ = read.error().message;
    else if (text_member(read->find("metadata"), "resourceVersion").empty())
        content_fault_ = "a list without metadata.resourceVersion";
    if (!content_fault_.empty()) {
        listed_.erase(listed_.begin() + static_cast<std::ptrdiff_t>(listed_before), listed_.end());
        nameless_.resize(nameless_before);
        return false;
    }
    page = std::move(*read);
    return true;
}

void Reflector::take_page(const Value& page, uint64_t now_ms) {
    worked(now_ms);
    // Slowly: where all objects are large, each step too far is an answer for nothing.
    page_limit_ = std::min(page_limit_ + page_limit_ / 4 + 1, page_objects);
    const Value* meta = page.find("metadata");
    continue_ = text_member(meta, "continue");
    if (!continue_.empty())
        return;
    resource_version_ = text_member(meta, "resourceVersion");
    state_ = State::watching;
    synced_ = true;
    absent_ = false;
    if (!watch_failed_)
        backoff_.succeeded();
    ++lists_;
    objects_ = listed_.size();
    changes_.emplace_back(KindListed{.kind = kind_.index, .objects = std::exchange(listed_, {})});
}

/// Not at this version. At none: the CRD is not installed, or not yet, if the API server's discovery says so too.
void Reflector::not_found(const Outcome& outcome, uint64_t now_ms) {
    list_anew();
    const size_t count = kind_.versions[1] == nullptr ? 1 : kind_.versions.size();
    version_ = (version_ + 1) % count;
    if (version_ != 0) {
        due_ms_ = now_ms;
        return;
    }
    if (kind_.core) // no API server is without it
        return failed(outcome, now_ms);
    if (absent_)
        return is_absent(now_ms);
    last_heard_ms_ = now_ms;
    search_.emplace(kind_);
    state_ = State::searching;
    due_ms_ = now_ms;
}

/// The list was answered 404: because the kind is not there?
void Reflector::end_search(const Outcome& outcome, uint64_t now_ms) {
    state_ = State::listing; // whatever fails here, the list is asked for again
    if (outcome.status != ok || !outcome.error.empty() || !content_fault_.empty())
        return failed(outcome, now_ms);
    switch (search_->take(buffer_)) {
    case KindSearch::Answer::ask_on:
        state_ = State::searching;
        due_ms_ = now_ms;
        break;
    case KindSearch::Answer::absent: is_absent(now_ms); break;
    case KindSearch::Answer::doubtful:
        content_fault_ = "HTTP status 404, but the API server's discovery " + search_->doubt();
        failed({.status = ok, .error = {}, .retry_after_ms = {}}, now_ms);
        break;
    }
}

/// If it was there, a policy must not vanish with the CRD: what is known stays until a list says otherwise.
void Reflector::is_absent(uint64_t now_ms) {
    list_anew();
    last_heard_ms_ = now_ms;
    absent_ = true;
    if (lists_ == 0)
        synced_ = true;
    fault_ = lists_ == 0 ? "" : "the API server does not serve it any more; what it had stays in force";
    backoff_.failed(true);
    retry_later(now_ms, absent_retry_max_ms, retry_unreachable_max_ms);
}

void Reflector::list_anew() {
    state_ = State::listing;
    continue_.clear();
    listed_.clear();
}

// ------------------------------------------------------------------ watch

void Reflector::end_watch(const Outcome& outcome, uint64_t now_ms) {
    // A whole answer is its time that is over; also where the connection just ends, which is how proxies do it.
    const bool over = outcome.status == ok && outcome.error.empty() && content_fault_.empty() && !gone_;
    const bool lived = outcome.status == ok && now_ms >= asked_ms_ + watch_lived_ms;
    watch_failed_ = !over && (watch_failed_ || outcome.status != 0);
    if (over || lived)
        backoff_.succeeded();
    if (over) {
        worked(now_ms);
        // One that ends watches at once is not asked in a loop.
        due_ms_ = std::max(now_ms, asked_ms_ + backoff_.by_chance(watch_pause_ms, watch_pause_ms * 3 / 2));
        return;
    }
    if (gone_ || outcome.status == gone_status)
        return is_gone(now_ms);
    if (outcome.status == not_found_status || unreadable_)
        list_anew();
    failed(outcome, now_ms);
    if (outcome.status == ok) // one that breaks them at once neither; a server that is only just back is
        due_ms_ = std::max(due_ms_, asked_ms_ + backoff_.by_chance(watch_pause_ms, watch_pause_ms * 3 / 2));
}

/// All nodes may be told at once, by a server that has started anew.
void Reflector::is_gone(uint64_t now_ms) {
    list_anew();
    backoff_.failed(true);
    retry_later(now_ms, retry_max_ms, {});
    due_ms_ = std::max({due_ms_, now_ms + backoff_.by_chance(0, gone_pause_ms),
                        asked_ms_ + backoff_.by_chance(gone_pause_ms / 2, gone_pause_ms)});
}

/// False: nothing more is to be read of this watch.
bool Reflector::take_event(std::string_view line) {
    if (line.find_first_not_of(" \r\t") == std::string_view::npos)
        return true;
    Value object;
    std::string kept_out;
    const auto event = parse_json_objects(line, [&](Value&& read, const std::string& why) {
        object = std::move(read);
        kept_out = why;
    });
    if (!event || object.type != Value::Type::map) {
        unreadable_ = true;
        content_fault_ = event ? "an event without an object" : "an event is " + event.error().message;
        return false;
    }
    const std::string type = text_member(&*event, "type");
    if (type == "ERROR") {
        gone_ = integer_member(&object, "code") == gone_status;
        content_fault_ = "the watch ended: " + text_member(&object, "message");
        return false;
    }
    take_object(type, object, kept_out);
    return true;
}

/// Of one that is kept out the version goes on too: the watch would end at it again and again.
void Reflector::take_object(const std::string& type, const Value& object, const std::string& kept_out) {
    const Value* meta = object.find("metadata");
    if (std::string seen = text_member(meta, "resourceVersion"); !seen.empty())
        resource_version_ = std::move(seen);
    fault_.clear();
    if (type == "DELETED") {
        ObjectChange change{.kind = kind_.index, .object = {}, .deleted = true};
        change.object.name = {.ns = text_member(meta, "namespace"), .name = text_member(meta, "name")};
        changes_.emplace_back(std::move(change));
    } else if (type == "ADDED" || type == "MODIFIED") {
        std::vector<ParsedObject> parsed;
        parse(object, kept_out, parsed);
        for (ParsedObject& one : parsed)
            changes_.emplace_back(ObjectChange{.kind = kind_.index, .object = std::move(one), .deleted = false});
    } // BOOKMARK: only the version; what a later server may say is no change that we know
}

// ------------------------------------------------------------------ both

void Reflector::parse(const Value& object, const std::string& kept_out, std::vector<ParsedObject>& out) {
    ParsedFile parsed;
    if (kept_out.empty())
        parse_served(object, kind_, version(), parsed);
    else
        refuse_served(object, kind_, kept_out, parsed);
    for (ParsedObject& one : parsed.objects) {
        if (auto* pod = std::get_if<std::shared_ptr<const Pod>>(&one.object); pod != nullptr && *pod)
            *pod = lean(**pod, labels_);
        out.push_back(std::move(one));
    }
    for (const Fault& fault : parsed.faults) {
        if (nameless_.size() < nameless_max)
            nameless_.push_back(fault.message);
    }
}

uint64_t Reflector::resource_version() const {
    return parse_version(resource_version_);
}

std::vector<Change> Reflector::take_changes() {
    return std::exchange(changes_, {});
}

void Reflector::worked(uint64_t now_ms) {
    last_heard_ms_ = now_ms;
    fault_.clear();
    due_ms_ = now_ms;
}

void Reflector::failed(const Outcome& outcome, uint64_t now_ms) {
    // Also an answer that is none of an API server: whoever gives it is there, and to ask costs him something.
    const bool answered = outcome.status != 0 && (outcome.status != ok || outcome.error.empty());
    backoff_.failed(answered);
    ++failures_total_;
    const std::string& cause = content_fault_.empty() ? outcome.error : content_fault_;
    if (answered)
        last_heard_ms_ = now_ms;
    if (answered && outcome.status != ok) {
        const std::string said = message_of(error_body_);
        fault_ = "HTTP status " + std::to_string(outcome.status) + (said.empty() ? "" : ": " + said);
    } else {
        fault_ = cause.empty() ? "the answer broke off" : cause;
    }
    const uint64_t most_ms = absent_ ? absent_retry_max_ms : retry_max_ms; // a CRD may be installed meanwhile
    retry_later(now_ms, answered ? most_ms : retry_unreachable_max_ms, outcome.retry_after_ms);
}

void Reflector::retry_later(uint64_t now_ms, uint64_t most_ms, std::optional<uint64_t> retry_after_ms) {
    due_ms_ = now_ms + backoff_.wait_ms(most_ms, retry_after_ms);
}

} // namespace weft::agent::kube
