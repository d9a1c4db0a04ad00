// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

#include "agent/kube/api_server.hpp"

/// What every request to an API server has in common, whoever sends it.
namespace weft::agent::kube {

struct FreeHeaders {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Headers = std::unique_ptr<curl_slist, FreeHeaders>;

/// "Name: value".
void append(Headers& headers, const std::string& line);

/// Once per process, before the first handle; any thread.
void start_curl();

/// Whom to trust, as whom to ask (the token is read from its file each time: Kubernetes rotates it) and how: HTTP/2,
/// no proxy. `headers` get the token; the caller sets them, the URL and what else it wants.
void set_up(CURL* easy, Headers& headers, const ApiServer& server);

} // namespace weft::agent::kube
