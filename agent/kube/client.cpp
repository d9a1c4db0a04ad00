// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/client.hpp"

#include <algorithm>
#include <utility>

namespace weft::agent::kube {

class Client::Call final : public Http::Receiver {
public:
    Call(std::list<std::unique_ptr<Call>>& calls, Done done) : calls_(calls), done_(std::move(done)) {}

    void began(int /*status*/) override {}
    [[nodiscard]] bool take_piece(int /*status*/, std::string_view piece) override {
        if (answer_.body.size() + piece.size() > answer_bytes_max) {
            too_long_ = true;
            return false;
        }
        answer_.body += piece;
        return true;
    }
    void ended(const Outcome& outcome) override {
        const auto found = std::ranges::find(calls_, this, [](const auto& call) { return call.get(); });
        const std::unique_ptr<Call> self = std::move(*found); // until the end of this function
        calls_.erase(found);
        answer_.outcome = outcome;
        if (too_long_)
            answer_.outcome.error = "an answer of more than " + std::to_string(answer_bytes_max) + " bytes";
        done_(answer_);
    }

private:
    std::list<std::unique_ptr<Call>>& calls_;
    Done done_;
    Answer answer_;
    bool too_long_ = false;
};

Client::Client(ApiServer server) : http_(std::move(server)) {}
Client::~Client() = default;

void Client::call(const Request& request, Done done) {
    calls_.push_back(std::make_unique<Call>(calls_, std::move(done)));
    http_.begin(request, *calls_.back());
}

} // namespace weft::agent::kube
