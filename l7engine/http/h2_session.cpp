// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h2_session.hpp"

#include <array>
#include <cassert>
#include <limits>
#include <new>

#include "l7engine/http/h2_fields.hpp"

namespace weft::l7::h2 {
namespace {

/// Streams above the announced limit that are each refused; more of them at once end the connection.
constexpr uint32_t refused_streams_max = 100;
constexpr size_t frame_header_bytes = 9;
constexpr size_t setting_id_bytes = 2;

struct OptionDeleter {
    void operator()(nghttp2_option* option) const { nghttp2_option_del(option); }
};

std::unique_ptr<nghttp2_option, OptionDeleter> make_options(const H2Settings& settings) {
    nghttp2_option* raw = nullptr;
    checked(nghttp2_option_new(&raw));
    std::unique_ptr<nghttp2_option, OptionDeleter> option(raw);
    nghttp2_option_set_no_auto_window_update(raw, 1);
    nghttp2_option_set_max_outbound_ack(raw, settings.budgets.control_frames_max);
    nghttp2_option_set_max_settings(raw, settings.budgets.settings_entries_max);
    // It counts each call that brings a part of a CONTINUATION's header, so slow pieces count several times; ours
    // counts frames, but sees none of a block that nghttp2 passes over.
    nghttp2_option_set_max_continuations(raw, settings.budgets.continuations_max * (frame_header_bytes + 1));
    // Its estimate of the compressed size is generous; the limit is our own.
    nghttp2_option_set_max_send_header_block_length(raw, 2 * sent_head_bytes_max);
    // Goes by a clock; our budget does not.
    nghttp2_option_set_stream_reset_rate_limit(raw, std::numeric_limits<uint64_t>::max(), 1);
    return option;
}

} // namespace

int checked(int result) {
    if (result == NGHTTP2_ERR_NOMEM)
        throw std::bad_alloc();
    return result;
}

Session make_session(Role role, const nghttp2_session_callbacks* callbacks, const H2Settings& settings,
                     void* user_data) {
    const auto options = make_options(settings);
    nghttp2_session* session = nullptr;
    if (role == Role::server)
        checked(nghttp2_session_server_new2(&session, callbacks, user_data, options.get()));
    else
        checked(nghttp2_session_client_new2(&session, callbacks, user_data, options.get()));
    return Session(session);
}

void announce(nghttp2_session* session, Role role, const H2Settings& settings) {
    const bool server = role == Role::server;
    const std::array<nghttp2_settings_entry, 5> entries{{
        // First: write_streams_max() knows its place.
        {server ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS : NGHTTP2_SETTINGS_ENABLE_PUSH,
         server ? settings.streams_max + refused_streams_max : 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.stream_window_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings.head_bytes_max},
        // Priority trees do not exist here: nghttp2 then drops PRIORITY frames unread.
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    }};
    const size_t count = server ? entries.size() : entries.size() - 1;
    checked(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, entries.data(), count));
    checked(nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0,
                                                  static_cast<int32_t>(settings.connection_window_bytes)));
}

void write_streams_max(uint8_t* settings_frame, size_t size, uint32_t streams_max) {
    assert(size >= frame_header_bytes + setting_id_bytes + sizeof(streams_max));
    assert(settings_frame[frame_header_bytes + 1] == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    uint8_t* value = settings_frame + frame_header_bytes + setting_id_bytes;
    for (int shift = 24; shift >= 0; shift -= 8)
        *value++ = static_cast<uint8_t>(streams_max >> shift);
}

} // namespace weft::l7::h2
