// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/downstream.hpp"

#include "l7engine/proxy/proxy.hpp"

namespace weft::l7 {

Downstream::Downstream(Proxy& proxy, const Accepted& accepted)
    : proxy_(proxy), accepted_(accepted), use_(proxy.use_of(accepted.pod_id, accepted.direction)) {
    proxy_.joined(*this);
}

Downstream::~Downstream() {
    proxy_.left(*this);
}

} // namespace weft::l7
