// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/client.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "config/proto/control.pb.h"
#include "config/wire/channel.hpp"
#include "config/wire/message.hpp"

namespace weft::agent::ctl {
namespace {

/// The agent answers a sync at its deadline at the latest; this is for the way there and back.
constexpr uint32_t answer_slack_ms = 2000;

std::expected<UniqueFd, std::string> connect_to(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof(address.sun_path))
        return std::unexpected("--socket " + path + ": not a path that a socket can have");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd)
        return std::unexpected(std::string("socket: ") + std::strerror(errno));
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0)
        return fd;
    if (errno == ENOENT || errno == ECONNREFUSED)
        return std::unexpected("no agent at " + path + " (is weft-agent running? --socket names another)");
    return std::unexpected("no agent at " + path + ": " + std::strerror(errno));
}

proto::CtlRequest::Verb to_proto(Verb verb) {
    switch (verb) {
    case Verb::status: return proto::CtlRequest::STATUS;
    case Verb::sync: return proto::CtlRequest::SYNC;
    case Verb::step_aside: return proto::CtlRequest::STEP_ASIDE;
    case Verb::ready: return proto::CtlRequest::READY;
    }
    std::unreachable();
}

} // namespace

std::expected<Answer, std::string> ask(const std::string& socket, Verb verb, uint32_t timeout_ms,
                                       const std::string& group) {
    auto fd = connect_to(socket);
    if (!fd)
        return std::unexpected(fd.error());
    wire::FrameChannel channel(*std::move(fd));
    proto::ToAgent question;
    auto& request = *question.mutable_ctl();
    request.set_verb(to_proto(verb));
    request.set_timeout_ms(timeout_ms);
    request.set_group(group);
    if (const auto sent = channel.send(as_bytes(wire::serialize_message(question)), {}, timeout_ms); !sent)
        return std::unexpected("the agent does not take the question: " + to_string(sent.error()));
    const auto frame = channel.receive(timeout_ms + answer_slack_ms);
    if (!frame)
        return std::unexpected(frame.error().code == Code::timeout ? "the agent did not answer in time"
                                                                   : "the agent closed the connection");
    proto::ToEngine message;
    if (!wire::parse_message(as_bytes(frame->bytes), message) || !message.has_ctl())
        return std::unexpected("the agent's answer cannot be read (another version?)");
    Answer answer{.ok = message.ctl().ok(), .error = message.ctl().error(), .json = nullptr};
    if (!message.ctl().json().empty()) {
        answer.json = Json::parse(message.ctl().json(), nullptr, false);
        if (answer.json.is_discarded())
            return std::unexpected("the agent's answer cannot be read (another version?)");
    }
    return answer;
}

} // namespace weft::agent::ctl
