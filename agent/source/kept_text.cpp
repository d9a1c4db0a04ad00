// SPDX-License-Identifier: Apache-2.0
#include "agent/source/kept_text.hpp"

#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "agent/source/decode.hpp"
#include "agent/source/json.hpp"

namespace weft::agent {
namespace {

/// What most of these objects say, so that none has to say it anew; what is most frequent stands last.
constexpr std::string_view dictionary =
    R"({"apiVersion":"gateway.networking.k8s.io/v1","kind":"Gateway","spec":{"gatewayClassName":"weft-waypoint",)"
    R"("listeners":[{"allowedRoutes":{"namespaces":{"from":"Same"}},"name":"mesh","port":15008,"protocol":"HBONE"}]}})"
    R"({"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","spec":{"action":"ALLOW","rules":[{"from":)"
    R"([{"source":{"namespaces":["default"],"principals":["cluster.local/ns/default/sa/default"]}}],"to":)"
    R"([{"operation":{"methods":["GET","POST"],"paths":["/*"],"hosts":["*"]}}],"when":[{"key":"request.headers[)"
    R"(]","values":[""]}]}],"targetRefs":[{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"waypoint"}]}})"
    R"({"apiVersion":"gateway.networking.k8s.io/v1","kind":"HTTPRoute","metadata":{"annotations":{},)"
    R"("creationTimestamp":"2026-01-01T00:00:00Z","generation":1,"labels":{"app":"","app.kubernetes.io/name":""},)"
    R"("name":"route","namespace":"default","resourceVersion":"1","uid":""},"spec":{"hostnames":["example.com"],)"
    R"("parentRefs":[{"group":"","kind":"Service","name":"","port":80}],"rules":[{"backendRefs":[{"group":"",)"
    R"("kind":"Service","name":"","namespace":"","port":80,"weight":1}],"matches":[{"headers":[{"name":"x-",)"
    R"("type":"Exact","value":""}],"method":"GET","path":{"type":"Exact","value":"/"}},{"path":{"type":"PathPrefix",)"
    R"("value":"/"}}]},{"backendRefs":[{"group":"","kind":"Service","name":"","port":8080,"weight":100}],"matches":)"
    R"([{"path":{"type":"PathPrefix","value":"/"}}]}]}})";
constexpr size_t text_bytes_max = 16U << 20U; ///< no API server takes an object a tenth as large
/// Without zlib's own head and checksum. 8 KiB and little memory: whoever packs thousands of small texts else spends
/// his time on fresh pages. Unpacking takes any.
constexpr int raw_window = -13;
constexpr int raw_window_any = -15;
constexpr int memory_level = 6;

const Bytef* bytes_of(std::string_view text) {
    return reinterpret_cast<const Bytef*>(text.data());
}

void add(Value& map, std::string_view key, Value value) {
    map.keys.emplace_back(key);
    map.items.push_back(std::move(value));
}

Value text_of(std::string text) {
    return {.type = Value::Type::text, .text = std::move(text)};
}

Value read_annotations(const Value& annotations) {
    Value out{.type = Value::Type::map};
    for (size_t i = 0; i < annotations.keys.size(); ++i)
        if (is_read_annotation(annotations.keys[i]))
            add(out, annotations.keys[i], annotations.items[i]);
    return out;
}

} // namespace

std::string kept_text(const Value& object, const KindInfo& kind, const std::string& version) {
    Value out{.type = Value::Type::map};
    add(out, "apiVersion", text_of(*kind.group == 0 ? version : std::string(kind.group) + "/" + version));
    add(out, "kind", text_of(kind.kind));
    if (const Value* meta = object.find("metadata")) {
        Value kept{.type = Value::Type::map};
        for (size_t i = 0; i < meta->keys.size(); ++i) {
            if (meta->keys[i] == "annotations")
                add(kept, meta->keys[i], read_annotations(meta->items[i]));
            else if (meta->keys[i] != "managedFields")
                add(kept, meta->keys[i], meta->items[i]);
        }
        add(out, "metadata", std::move(kept));
    }
    if (const Value* spec = object.find("spec"))
        add(out, "spec", *spec);
    return json_text(out);
}

std::string pack(const std::string& text) {
    const auto size = static_cast<uint32_t>(text.size());
    z_stream stream{};
    if (text.size() > text_bytes_max ||
        deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, raw_window, memory_level, Z_DEFAULT_STRATEGY) != Z_OK)
        return "";
    deflateSetDictionary(&stream, bytes_of(dictionary), static_cast<uInt>(dictionary.size()));
    std::string out(sizeof(size) + deflateBound(&stream, size), '\0');
    std::memcpy(out.data(), &size, sizeof(size));
    stream.next_in = const_cast<Bytef*>(bytes_of(text));
    stream.avail_in = size;
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + sizeof(size));
    stream.avail_out = static_cast<uInt>(out.size() - sizeof(size));
    const bool whole = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    out.resize(out.size() - stream.avail_out);
    deflateEnd(&stream);
    return whole ? std::string(out.data(), out.size()) : ""; // a copy has no spare room
}

std::string unpack(const std::string& packed) {
    uint32_t size = 0;
    z_stream stream{};
    if (packed.size() < sizeof(size))
        return "";
    std::memcpy(&size, packed.data(), sizeof(size));
    if (size > text_bytes_max || inflateInit2(&stream, raw_window_any) != Z_OK)
        return "";
    inflateSetDictionary(&stream, bytes_of(dictionary), static_cast<uInt>(dictionary.size()));
    std::string out(size, '\0');
    stream.next_in = const_cast<Bytef*>(bytes_of(packed)) + sizeof(size);
    stream.avail_in = static_cast<uInt>(packed.size() - sizeof(size));
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = size;
    const bool whole = inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_out == 0;
    inflateEnd(&stream);
    return whole ? out : "";
}

} // namespace weft::agent
