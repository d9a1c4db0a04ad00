// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/kube/api_server.hpp"
#include "agent/source/source.hpp"

namespace weft::agent::kube {

/// Changes are gathered for so long before the loop is told: each load compiles everything.
inline constexpr uint64_t gather_ms = 50;
/// A change after a quiet time waits only for what comes with it.
inline constexpr uint64_t gather_first_ms = 10;
inline constexpr uint64_t quiet_ms = 500;

/// The Kubernetes API as a source (`--source kube`): every kind of kinds_read(), listed and watched on a thread of its
/// own, which decodes too; load() only folds in what has changed. While the server cannot be reached everything stays
/// as it was last seen, and that is said as a fault.
class KubeSource final : public Source {
public:
    explicit KubeSource(ApiServer server);
    ~KubeSource() override;

    [[nodiscard]] int fd() const override;
    [[nodiscard]] bool ready() override;
    /// Until each kind was listed once, or is not there: what is known may lack a policy.
    [[nodiscard]] bool unsettled() override;
    [[nodiscard]] LoadResult load(ObjectStore previous) override;
    [[nodiscard]] std::vector<SourcePart> parts() override;
    [[nodiscard]] const std::string& name() const override;

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace weft::agent::kube
