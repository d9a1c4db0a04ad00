// SPDX-License-Identifier: Apache-2.0
// Thousands of seeds of random clients, backends and faults. For every request exactly one of: the right reply whole,
// an error reply whole, a cut. Never a wrong byte, a clean end inside a reply, a hang, or anything left over.
#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

constexpr uint64_t seeds = 3000;

std::string body_for(std::string_view path, std::string_view request_body, size_t size) {
    std::string text = std::string(path) + "|" + std::to_string(request_body.size()) + "|" +
                       std::to_string(std::hash<std::string_view>()(request_body)) + "|";
    while (text.size() < size)
        text += static_cast<char>('a' + text.size() % 26);
    return text;
}

std::string chunked(std::string_view body, uint64_t piece, std::string_view trailers = "") {
    std::string text;
    for (size_t at = 0; at < body.size(); at += piece) {
        const std::string_view part = body.substr(at, piece);
        char size[20];
        snprintf(size, sizeof size, "%zx\r\n", part.size());
        text += size;
        text += part;
        text += "\r\n";
    }
    return text + "0\r\n" + std::string(trailers) + "\r\n";
}

/// The body of a whole request, chunks removed.
std::string request_body(std::string_view request) {
    const Replies parsed = parse_replies("HTTP/1.1 200 " + std::string(request));
    return parsed.whole.empty() ? "" : parsed.whole[0].body;
}

struct Sent {
    std::string path;
    std::string body;
    size_t reply_bytes;
};

class Chaos {
public:
    explicit Chaos(uint64_t seed) : stage_(seed, faults_of(seed)) {
        if (seed % 2 == 0) // found out from the first bytes
            stage_.snapshot.frontends[0].protocol = config::Protocol::undeclared;
        const size_t endpoints = 1 + stage_.world.random(3);
        for (size_t index = 0; index < endpoints; ++index) {
            const std::string address = "10.0.1." + std::to_string(index + 1) + ":80";
            stage_.add_endpoint(address);
            if (index == 0 || stage_.world.chance(800))
                stage_.world.serve(address_of(address), [this](sim::Peer peer) { serve(peer); });
        }
        for (uint64_t index = 0; index < 1 + stage_.world.random(3); ++index)
            start_client();
    }

    void run() {
        ASSERT_TRUE(stage_.until([&] { return all_over(); }, 3'000'000)) << "hangs, seed " << stage_.world.seed();
        for (const Client& client : clients_)
            client.peer.resume(); // what a FIN overtook in a paused end
        stage_.until([] { return false; }, 200);
        for (const Client& client : clients_)
            check(client);
        stage_.end();
    }

private:
    struct Client {
        sim::Peer peer;
        std::vector<Sent> sent;
        bool left_itself = false;
    };

    static sim::Faults faults_of(uint64_t seed) {
        sim::Faults faults;
        faults.connect_refused = seed % 3 == 0 ? 100 : 0;
        return faults;
    }

    void start_client() {
        clients_.push_back({.peer = stage_.client(), .sent = {}});
        Client& client = clients_.back();
        std::string bytes;
        const uint64_t requests = 1 + stage_.world.random(4);
        for (uint64_t index = 0; index < requests; ++index)
            bytes += make_request(client, index + 1 == requests);
        send_in_pieces(client.peer, bytes);
        if (stage_.world.chance(100)) {
            client.left_itself = true;
            stage_.world.after(stage_.world.random(200), [peer = client.peer, hard = stage_.world.chance(500)] {
                if (!peer.over())
                    hard ? peer.reset() : peer.close();
            });
        }
        if (stage_.world.chance(200)) {
            client.peer.pause();
            stage_.world.after(stage_.world.random(3'000), [peer = client.peer] { peer.resume(); });
        }
    }

    std::string make_request(Client& client, bool last) {
        sim::World& world = stage_.world;
        Sent sent{.path = "/" + std::to_string(clients_.size()) + "-" + std::to_string(client.sent.size()),
                  .body = {},
                  .reply_bytes = world.random(world.chance(200) ? 200'000 : 300)};
        std::string text = " " + sent.path + " HTTP/1.1\r\nhost: a\r\nx-size: " + std::to_string(sent.reply_bytes) +
                           "\r\n" + (last ? "connection: close\r\n" : "");
        if (world.chance(500)) {
            client.sent.push_back(sent);
            return "GET" + text + "\r\n";
        }
        sent.body.assign(world.random(world.chance(200) ? 100'000 : 200), 'q');
        client.sent.push_back(sent);
        if (world.chance(500))
            return "PUT" + text + "transfer-encoding: chunked\r\n\r\n" +
                   chunked(sent.body, 1 + world.random(5'000), world.chance(300) ? "x-t: 1\r\n" : "");
        return "POST" + text + "content-length: " + std::to_string(sent.body.size()) + "\r\n\r\n" + sent.body;
    }

    void send_in_pieces(const sim::Peer& peer, const std::string& bytes) {
        uint64_t at_ms = 0;
        for (size_t at = 0; at < bytes.size();) {
            const size_t size = 1 + stage_.world.random(bytes.size());
            at_ms += stage_.world.random(30);
            stage_.world.after(at_ms, [peer, piece = bytes.substr(at, size)] {
                if (!peer.over())
                    peer.send(piece);
            });
            at += size;
        }
    }

    void serve(sim::Peer peer) {
        http_server([this](std::string_view request, sim::Peer end) { return answer(request, end); })(peer);
    }

    std::string answer(std::string_view request, sim::Peer end) {
        sim::World& world = stage_.world;
        const size_t path = request.find(' ') + 1;
        const size_t size_at = request.find("x-size: ") + 8;
        const std::string body = body_for(request.substr(path, request.find(' ', path) - path), request_body(request),
                                          std::stoul(std::string(request.substr(size_at, 10))));
        std::string text = world.chance(500)
                               ? reply(body, world.chance(100) ? "connection: close\r\n" : "")
                               : "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" +
                                     chunked(body, 1 + world.random(9'000), world.chance(300) ? "x-sum: 1\r\n" : "");
        if (world.chance(100))
            text.insert(0, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
        if (world.chance(120)) // ends somewhere inside, one way or the other
            return misbehave(std::move(text), end);
        if (world.chance(200)) {
            world.after(world.random(100), [end, text] {
                if (!end.over())
                    end.send(text);
            });
            return "";
        }
        return text;
    }

    std::string misbehave(std::string text, sim::Peer end) {
        sim::World& world = stage_.world;
        switch (world.random(4)) {
        case 0: return "garbage\r\n\r\n";
        case 1: return text + "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nextra!"; // a reply that nobody asked for
        default: break;
        }
        text.resize(world.random(text.size()));
        world.after(world.random(50), [end, hard = world.chance(500)] {
            if (!end.over())
                hard ? end.reset() : end.close();
        });
        return text;
    }

    bool all_over() const {
        return std::ranges::all_of(clients_, [](const Client& client) { return client.peer.over(); });
    }

    void check(const Client& client) const {
        const Replies replies = parse_replies(client.peer.received());
        const uint64_t seed = stage_.world.seed();
        ASSERT_LE(replies.whole.size(), client.sent.size()) << "more replies than requests, seed " << seed;
        for (size_t index = 0; index < replies.whole.size(); ++index) {
            const Replies::One& got = replies.whole[index];
            const Sent& sent = client.sent[index];
            if (got.status == 200)
                ASSERT_EQ(got.body, body_for(sent.path, sent.body, sent.reply_bytes)) << "wrong bytes, seed " << seed;
            else
                ASSERT_THAT(got.status, testing::AnyOf(502, 503, 504)) << "seed " << seed;
        }
        const bool cut = replies.partial || replies.whole.size() < client.sent.size();
        if (replies.partial && !client.left_itself) {
            ASSERT_TRUE(client.peer.saw_reset()) << "a clean end inside a reply, seed " << seed;
        } else if (cut && !client.left_itself && !client.peer.saw_reset()) {
            // A clean end before all replies is right only after a reply that said so.
            ASSERT_FALSE(replies.whole.empty()) << "closed without a word, seed " << seed << " " << counters();
            ASSERT_NE(replies.whole.back().head.find("onnection: close"), std::string::npos) << "seed " << seed;
        }
    }

    std::string counters() const {
        std::string text;
        for (size_t index = 0; index < counter_count; ++index) {
            if (const uint64_t value = stage_.proxy->counters()[static_cast<Counter>(index)])
                text += std::string(counter_names[index].name) + "{" + std::string(counter_names[index].reason) +
                        "}=" + std::to_string(value) + " ";
        }
        return text;
    }

    Stage stage_;
    std::vector<Client> clients_;
};

TEST(ProxyChaos, every_request_gets_the_right_reply_an_error_or_a_cut) {
    for (uint64_t seed = 1; seed <= seeds && !testing::Test::HasFailure(); ++seed)
        Chaos(seed).run();
}

} // namespace
} // namespace weft::l7::test
