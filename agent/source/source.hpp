// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "agent/source/object_store.hpp"

namespace weft::agent {

/// How far a part of a source is known; for status.
struct SourcePart {
    std::string name;       ///< "HTTPRoute of gateway.networking.k8s.io"
    bool read = false;      ///< all of it, once
    bool absent = false;    ///< it is not there
    size_t objects = 0;     ///< when it was last read whole
    uint64_t silent_ms = 0; ///< since it last said anything
    uint64_t failures = 0;  ///< since the start
    std::string fault;      ///< why nothing is heard now; empty: it is
};

/// Where the objects come from: a directory, or the Kubernetes API. Owned by the reconcile loop and used on its thread
/// only; an implementation with threads of its own keeps them behind this.
class Source {
public:
    Source() = default;
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    virtual ~Source() = default;

    /// One descriptor to poll for reading; the same for the whole life.
    [[nodiscard]] virtual int fd() const = 0;
    /// Call when fd() is readable (harmless otherwise). True: something may have changed and come to rest; load it.
    [[nodiscard]] virtual bool ready() = 0;
    /// What load() would give now may be half of what is meant; ready() comes when it is whole.
    [[nodiscard]] virtual bool unsettled() = 0;
    /// Everything there is, folded into what was in force, which is what the last load() gave. Never fails: what cannot
    /// be read keeps its objects from `previous` and is reported.
    [[nodiscard]] virtual LoadResult load(ObjectStore previous) = 0;
    /// Empty: it has no parts that could be known apart.
    [[nodiscard]] virtual std::vector<SourcePart> parts() { return {}; }
    /// As people know it: the directory's path, the API server's URL.
    [[nodiscard]] virtual const std::string& name() const = 0;
};

} // namespace weft::agent
