// SPDX-License-Identifier: Apache-2.0
#include "agent/source_view.hpp"

#include <ctime>
#include <utility>

#include "config/base/log.hpp"

namespace weft::agent {

SourceView::SourceView(std::unique_ptr<Source> source, ObjectStore store, std::string record_file,
                       metrics::Counters& counters)
    : source_(std::move(source)), record_file_(std::move(record_file)), counters_(counters), store_(std::move(store)),
      former_(read_record(record_file_)) {}

bool SourceView::load(Former former) {
    LoadResult loaded = source_->load(std::move(store_));
    if (former != Former::replaced && former_)
        bring_back(loaded.store, *former_);
    hold_ = former == Former::in_force ? reasons_to_hold(loaded, former_) : std::vector<std::string>();
    store_ = std::move(loaded.store);
    faults_ = std::move(loaded.faults);
    unreadable_ = std::move(loaded.unreadable);
    unread_ = source_->unsettled() ? std::move(loaded.unread) : std::vector<std::string>();
    ignored_ = loaded.ignored;
    versions_ = loaded.versions;
    read_s_ = std::time(nullptr);
    return loaded.changed;
}

void SourceView::record() {
    const uint64_t now = fingerprint_of_record(store_);
    if (recorded_ == now)
        return;
    if (write_record(record_file_, record_of(store_))) {
        recorded_ = now;
        record_failed_ = false;
        return;
    }
    recorded_.reset();
    counters_.add(metrics::Event::apply_failure, "record");
    if (!std::exchange(record_failed_, true))
        log::error("record_not_written", log::kv("path", record_file_));
}

} // namespace weft::agent
