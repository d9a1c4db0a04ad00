// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

#include "agent/kube/api_server.hpp"

/// What every request to an API server has in common, whoever sends it.
namespace weft::agent::kube {

struct FreeLines {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Lines = std::unique_ptr<curl_slist, FreeLines>;

/// What libcurl reads of a request until that has ended.
struct Lists {
    Lines headers; ///< "Name: value"
    Lines connect_to;
};

void append(Lines& lines, const std::string& line);

/// Once per process, before the first handle; any thread.
void start_curl();

/// Where to ask for `path` (with its query), whom to trust, as whom to ask (files are read each time, the authorities'
/// for each connection: Kubernetes rotates them) and how: HTTP/2, no proxy. `lists` get the token; the caller sets the
/// headers, when they are all there, and what else it wants.
void set_up(CURL* easy, Lists& lists, const ApiServer& server, const std::string& path);

} // namespace weft::agent::kube
