// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "l7engine/filter/exchange.hpp"
#include "l7engine/proxy/admit.hpp"

namespace weft::l7 {

class Proxy;

/// Fills in what is known of an accepted connection before anything of it is judged or chosen: by this policies know
/// who is at its ends. The same for each of its requests, for a connection without requests, and for a request that was
/// refused before any filter. x.view is set.
void describe(Exchange& x, const Accepted& accepted, Proxy& proxy);

/// Would what was let in before, to `endpoint`, be let in now? x is described in the present view, its request as it
/// was judged. False also if the view does not know the pod whose connection it is. An endpoint that is no pod of this
/// node has no guards here.
[[nodiscard]] bool is_still_allowed(Exchange& x, const SocketAddress& endpoint, uint32_t trusted_hops);

} // namespace weft::l7
