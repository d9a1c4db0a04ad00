// SPDX-License-Identifier: Apache-2.0
#include "agent/source/parse.hpp"

#include <algorithm>
#include <array>
#include <variant>

#include "agent/source/decode.hpp"
#include "agent/source/kept_text.hpp"
#include "agent/source/limits.hpp"
#include "agent/source/names.hpp"
#include "agent/source/yaml.hpp"

namespace weft::agent {
namespace {

using Decoder = void (*)(Fields&, ObjectMeta&&, ParsedObject&);

template <class T>
void decode_as(Fields& object, ObjectMeta&& meta, ParsedObject& out) {
    auto value = std::make_shared<T>();
    value->meta = std::move(meta);
    decode(object, *value);
    out.object = std::shared_ptr<const T>(std::move(value));
}
template <class T>
void refuse_as(ParsedObject& out) {
    out.object = std::shared_ptr<const T>();
}

struct KnownKind {
    NameRule name_rule;
    Decoder decode;
    void (*refuse)(ParsedObject&);
};

template <class T>
constexpr KnownKind known(NameRule rule) {
    return {rule, decode_as<T>, refuse_as<T>};
}

template <class T>
constexpr KindInfo info(const char* group, const char* plural, std::array<const char*, 2> versions, bool namespaced,
                        bool core) {
    return {group,       T::kind, plural, versions, namespaced, core, AnyObject(std::shared_ptr<const T>()).index(),
            is_served<T>};
}

constexpr std::array known_kinds = {
    known<Namespace>(names::is_dns_label),        known<Pod>(names::is_dns_subdomain),
    known<Service>(names::is_dns_label),          known<EndpointSlice>(names::is_dns_subdomain),
    known<GatewayClass>(names::is_dns_subdomain), known<Gateway>(names::is_dns_subdomain),
    known<HttpRoute>(names::is_dns_subdomain),    known<AuthorizationPolicy>(names::is_dns_subdomain),
    known<GrpcRoute>(names::is_dns_subdomain),    known<TcpRoute>(names::is_dns_subdomain),
    known<TlsRoute>(names::is_dns_subdomain),     known<RequestAuthentication>(names::is_dns_subdomain),
};

const std::array kind_infos = {
    info<Namespace>("", "namespaces", {"v1", nullptr}, false, true),
    info<Pod>("", "pods", {"v1", nullptr}, true, true),
    info<Service>("", "services", {"v1", nullptr}, true, true),
    info<EndpointSlice>("discovery.k8s.io", "endpointslices", {"v1", nullptr}, true, true),
    info<GatewayClass>(names::gateway_group, "gatewayclasses", {"v1", "v1beta1"}, false, false),
    info<Gateway>(names::gateway_group, "gateways", {"v1", "v1beta1"}, true, false),
    info<HttpRoute>(names::gateway_group, "httproutes", {"v1", "v1beta1"}, true, false),
    info<AuthorizationPolicy>("security.istio.io", "authorizationpolicies", {"v1", "v1beta1"}, true, false),
    info<GrpcRoute>(names::gateway_group, "grpcroutes", {"v1", "v1alpha2"}, true, false),
    info<TcpRoute>(names::gateway_group, "tcproutes", {"v1", "v1alpha2"}, true, false),
    info<TlsRoute>(names::gateway_group, "tlsroutes", {"v1", "v1alpha2"}, true, false),
    info<RequestAuthentication>("security.istio.io", "requestauthentications", {"v1", "v1beta1"}, true, false),
};
static_assert(known_kinds.size() == std::variant_size_v<AnyObject> && kind_infos.size() == known_kinds.size());

struct Identity {
    std::string group;
    std::string version;
    std::string kind;
};

void file_fault(ParsedFile& out, const Value& at, const std::string& message) {
    out.complete = false;
    if (out.faults.size() < limits::faults_per_file_max)
        out.faults.push_back({.field = {}, .message = "line " + std::to_string(at.line) + ": " + message});
}

const KindInfo* kind_of(const Identity& identity) {
    for (const auto& kind : kind_infos) {
        if (identity.group == kind.group && identity.kind == kind.kind)
            return &kind;
    }
    return nullptr;
}

/// What looks like one of our kinds but for its apiVersion, or like a kind of security.istio.io that does not exist: a
/// slip of the pen there must not make a policy vanish without a word. Empty: another program's business.
std::string mistaken(const Identity& identity) {
    constexpr std::string_view security_group = "security.istio.io";
    constexpr std::string_view linkerd_group =
        "policy.linkerd.io"; // has an AuthorizationPolicy and HTTPRoute of its own
    const std::string written = quoted(identity.group.empty() ? identity.version : identity.group);
    for (const auto& kind : kind_infos) {
        const bool shared = !*kind.group || kind.kind == std::string_view("Gateway"); // names that others use too
        if (!shared && identity.kind == kind.kind && identity.group != linkerd_group)
            return "apiVersion " + written + " has no kind " + kind.kind + "; use " + kind.group + "/" +
                   kind.versions[0];
    }
    const bool other = identity.kind == "PeerAuthentication" || identity.kind.ends_with("List");
    return identity.group == security_group && !other
               ? "apiVersion " + written + " has no kind " + quoted(identity.kind)
               : "";
}

bool serves(const KindInfo& kind, const std::string& version) {
    for (const char* known_version : kind.versions) {
        if (known_version != nullptr && version == known_version)
            return true;
    }
    return false;
}

/// The name that the object goes by. False: there is none to report it under.
bool read_name(const Value& value, const KindInfo& kind, ParsedObject& parsed, Faults& faults) {
    const Value* meta = value.find("metadata");
    parsed.name.name = text_member(meta, "name");
    if (!known_kinds[kind.index].name_rule(parsed.name.name))
        return false;
    const Value* ns = meta->find("namespace");
    const bool given =
        ns != nullptr && ns->type != Value::Type::null && !(ns->type == Value::Type::text && ns->text.empty());
    if (!kind.namespaced) {
        if (given)
            faults.push({.field = "metadata.namespace", .message = "must not be set: the kind is cluster-scoped"});
        return true;
    }
    parsed.name.ns = given ? text_member(meta, "namespace") : "default";
    return names::is_dns_label(parsed.name.ns);
}

void decode_document(const Value& value, const KindInfo& kind, const std::string& version, ParsedObject& parsed,
                     Faults& faults) {
    if (!serves(kind, version))
        return faults.push({.field = "apiVersion",
                            .message = quoted(version) + " of " + kind.kind + " is not served; use " +
                                       (*kind.group == 0 ? "" : std::string(kind.group) + "/") + kind.versions[0],
                            .unsupported = true});
    const Path root(nullptr, "");
    Fields object(value, root, faults);
    object.ignore({"apiVersion", "kind"});
    ObjectMeta meta;
    meta.ns = parsed.name.ns;
    meta.name = parsed.name.name;
    object.map("metadata", [&](Fields& fields) { decode_meta(fields, meta); });
    known_kinds[kind.index].decode(object, std::move(meta), parsed);
    object.finish();
}

Concerns concerns_of(const AnyObject& object) {
    Concerns out;
    std::visit(
        [&](const auto& typed) {
            if (typed == nullptr)
                return;
            if constexpr (requires { typed->parents; })
                out.parents = typed->parents;
            else if constexpr (requires { typed->targets; })
                out.targets = typed->targets;
            else if constexpr (requires { typed->class_name; })
                out.gateway_class = typed->class_name;
        },
        object);
    return out;
}

bool keeps_its_text(const AnyObject& object) {
    return std::visit([]<class T>(const std::shared_ptr<const T>&) { return keeps_text<T>; }, object);
}

/// `faults` decides what is one.
void parse_known(const Value& value, const KindInfo& kind, const std::string& version,
                 const std::vector<Fault>& known_faults, Faults faults, ParsedFile& out) {
    for (const auto& fault : known_faults)
        faults.push(fault);
    ParsedObject parsed;
    if (!read_name(value, kind, parsed, faults))
        return file_fault(out, value, std::string(kind.kind) + " has no valid metadata.name and namespace");
    decode_document(value, kind, version, parsed, faults);
    if (!faults.empty()) {
        parsed.concerns = concerns_of(parsed.object);
        parsed.read = std::move(parsed.object);
        known_kinds[kind.index].refuse(parsed);
    } else if (keeps_its_text(parsed.object)) {
        parsed.text = pack(kept_text(value, kind, version));
    }
    parsed.faults = faults.take();
    out.objects.push_back(std::move(parsed));
}

void parse_one(const Value& value, const std::vector<Fault>& known_faults, const Identity& identity, ParsedFile& out) {
    if (const KindInfo* kind = kind_of(identity))
        return parse_known(value, *kind, identity.version, known_faults, Faults(), out);
    if (const auto mistake = mistaken(identity); !mistake.empty())
        return file_fault(out, value, mistake);
    ++out.ignored;
}

Identity identity_of(const Value& value) {
    Identity out{.group = {}, .version = text_member(&value, "apiVersion"), .kind = text_member(&value, "kind")};
    if (const auto slash = out.version.find('/'); slash != std::string::npos) {
        out.group = out.version.substr(0, slash);
        out.version.erase(0, slash + 1);
    }
    return out;
}

/// `kubectl get -o yaml` writes kind List; the API server's own lists (PodList) leave kind out of the items.
void parse_list(const Value& value, const std::vector<Fault>& faults, const Identity& list, ParsedFile& out) {
    const Value* items = value.find("items");
    if (items == nullptr || items->type == Value::Type::null)
        return;
    if (items->type != Value::Type::list)
        return file_fault(out, value, "items must be a list");
    for (const auto& item : items->items) {
        Identity identity = identity_of(item);
        if (identity.kind.empty() && list.kind != "List") {
            identity = list;
            identity.kind.resize(identity.kind.size() - 4);
        }
        if (identity.kind.empty() || identity.version.empty())
            file_fault(out, item, "an item of the list has no apiVersion and kind");
        else if (identity.kind == "List")
            file_fault(out, item, "a list inside a list");
        else // where a duplicate key stood inside the list cannot be told apart: every item is suspect
            parse_one(item, faults, identity, out);
    }
}

} // namespace

std::string object_id(const char* kind, const ObjectName& name) {
    return std::string(kind) + " " + (name.ns.empty() ? "" : name.ns + "/") + name.name;
}

void parse_object(const Value& value, const std::vector<Fault>& faults, ParsedFile& out) {
    if (value.type != Value::Type::map)
        return file_fault(out, value, std::string("a document must be a map, not ") + describe(value.type));
    const Identity identity = identity_of(value);
    if (identity.kind.empty() || identity.version.empty())
        return file_fault(out, value, "no apiVersion and kind");
    const bool list = identity.kind.ends_with("List") && kind_of(identity) == nullptr && value.find("items") != nullptr;
    if (list)
        parse_list(value, faults, identity, out);
    else
        parse_one(value, faults, identity, out);
}

std::span<const KindInfo> kinds_read() {
    return kind_infos;
}

const KindInfo& kind_info(std::string_view kind) {
    return *std::ranges::find(kind_infos, kind, [](const KindInfo& each) { return std::string_view(each.kind); });
}

void parse_served(const Value& value, const KindInfo& kind, const std::string& version, ParsedFile& out) {
    if (value.type != Value::Type::map)
        return file_fault(out, value, std::string("an object must be a map, not ") + describe(value.type));
    const size_t before = out.objects.size();
    parse_known(value, kind, version, {},
                Faults(kind.core ? Faults::UnknownFields::ignored : Faults::UnknownFields::refused), out);
    if (out.objects.size() == before)
        return;
    ParsedObject& parsed = out.objects.back();
    parsed.revision = read_revision(value, kind);
    if (parsed.faults.empty())
        parsed.revision.uid.clear(); // the object's own metadata has it
}

void refuse_served(const Value& names, const KindInfo& kind, const std::string& why, ParsedFile& out) {
    ParsedObject parsed;
    Faults faults;
    if (!read_name(names, kind, parsed, faults))
        return file_fault(out, names, std::string(kind.kind) + " that cannot be named: " + why);
    known_kinds[kind.index].refuse(parsed);
    parsed.faults = {{.field = {}, .message = why}};
    parsed.revision = read_revision(names, kind);
    out.objects.push_back(std::move(parsed));
}

ParsedFile parse_manifests(std::string_view text) {
    ParsedFile out;
    auto documents = parse_yaml(text);
    if (!documents) {
        out.complete = false;
        out.faults.push_back(std::move(documents.error()));
        return out;
    }
    for (const auto& document : *documents)
        parse_object(document.root, document.faults, out);
    return out;
}

} // namespace weft::agent
