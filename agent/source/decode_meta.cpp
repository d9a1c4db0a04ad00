// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "agent/source/decode.hpp"
#include "agent/source/names.hpp"

namespace weft::agent {
namespace {

constexpr size_t owners_max = 64;
constexpr size_t owner_kind_bytes_max = 253;
constexpr size_t expressions_max = 64;
constexpr size_t selector_values_max = 256;

void check_labels(Fields& fields, std::string_view name, const Labels& labels) {
    const Path path = fields.at(name);
    for (const auto& [key, value] : labels) {
        if (!names::is_qualified_name(key))
            fields.faults().add(Path(&path, key), "is not a valid key");
        else if (!names::is_label_value(value))
            fields.faults().add(Path(&path, key), quoted(value) + " is not a label value");
    }
}

/// Anybody may write them, and Kubernetes takes keys that it would not take for labels: none refuses its object, or a
/// word to a third program could keep a pod out of the mesh. Whoever reads one judges its value.
Labels read_annotations(const Value* annotations) {
    Labels out;
    if (annotations == nullptr || annotations->type != Value::Type::map)
        return out;
    for (size_t i = 0; i < annotations->keys.size(); ++i) {
        const Value& value = annotations->items[i];
        const bool scalar = value.type != Value::Type::list && value.type != Value::Type::map;
        if (scalar &&
            is_read_annotation(annotations->keys[i])) // a manifest may have `true` for "true": as it is written
            out.emplace(annotations->keys[i], value.type == Value::Type::null ? "" : value.text);
    }
    return out;
}

/// Kubernetes wants no more of a reference than that it is not empty: one that cannot be read is left out, since only
/// names in metrics depend on it.
std::vector<OwnerRef> read_owners(const Value* references) {
    std::vector<OwnerRef> out;
    if (references == nullptr || references->type != Value::Type::list)
        return out;
    for (const Value& reference : references->items) {
        if (out.size() == owners_max)
            break;
        if (reference.type != Value::Type::map)
            continue;
        const Value* controller = reference.find("controller");
        OwnerRef owner{.kind = text_member(&reference, "kind"),
                       .name = text_member(&reference, "name"),
                       .controller = controller != nullptr && controller->boolean};
        if (!owner.kind.empty() && owner.kind.size() <= owner_kind_bytes_max && names::is_path_segment(owner.name))
            out.push_back(std::move(owner));
    }
    return out;
}

bool holds(const LabelSelector::Requirement& requirement, const Labels& labels) {
    const auto found = labels.find(requirement.key);
    const bool present = found != labels.end();
    const auto listed = [&] {
        return std::find(requirement.values.begin(), requirement.values.end(), found->second) !=
               requirement.values.end();
    };
    switch (requirement.op) {
        using enum LabelSelector::Requirement::Operator;
    case in: return present && listed();
    case not_in: return !present || !listed();
    case exists: return present;
    case does_not_exist: return !present;
    }
    return false;
}

LabelSelector::Requirement decode_requirement(Fields& fields) {
    using enum LabelSelector::Requirement::Operator;
    LabelSelector::Requirement out;
    out.key = fields.required_text("key", names::is_qualified_name, "a label key");
    const auto op = fields.one_of("operator", {"In", "NotIn", "Exists", "DoesNotExist"});
    if (!op && !fields.has("operator"))
        fields.fault("operator", "is required");
    out.op = op == "NotIn" ? not_in : op == "Exists" ? exists : op == "DoesNotExist" ? does_not_exist : in;
    fields.each("values", selector_values_max, [&](const Value& value, const Path& path) {
        if (auto text = text_of(value, path, fields.faults())) {
            if (!names::is_label_value(*text))
                fields.faults().add(path, quoted(*text) + " is not a label value");
            out.values.push_back(std::move(*text));
        }
    });
    const bool wants_values = out.op == in || out.op == not_in;
    if (op && wants_values == out.values.empty())
        fields.fault("values", wants_values ? "must not be empty for " + *op : "must be empty for " + *op);
    return out;
}

} // namespace

bool LabelSelector::matches(const Labels& labels) const {
    const auto has = [&](const auto& wanted) {
        const auto found = labels.find(wanted.first);
        return found != labels.end() && found->second == wanted.second;
    };
    return std::all_of(match_labels.begin(), match_labels.end(), has) &&
           std::all_of(expressions.begin(), expressions.end(), [&](const auto& each) { return holds(each, labels); });
}

LabelSelector decode_selector(Fields& selector) {
    LabelSelector out;
    out.match_labels = selector.texts("matchLabels");
    check_labels(selector, "matchLabels", out.match_labels);
    selector.each_map("matchExpressions", expressions_max,
                      [&](Fields& fields) { out.expressions.push_back(decode_requirement(fields)); });
    return out;
}

/// Annotations of others are the larger part of many an object (what kubectl last applied), and change without meaning
/// anything here.
bool is_read_annotation(std::string_view name) {
    const std::string_view domain = name.substr(0, name.find('/'));
    return domain == "istio.io" || domain.ends_with(".istio.io") || domain == "weftmesh.io" ||
           domain == "kubernetes.io";
}

void decode_meta(Fields& meta, ObjectMeta& out) {
    // Name and namespace are read by the caller, which must know them even if the rest is faulty.
    meta.ignore({"name", "namespace", "generateName", "generation", "managedFields", "resourceVersion", "selfLink",
                 "finalizers", "deletionGracePeriodSeconds", "clusterName"});
    out.uid = meta.text("uid", names::is_uid, "a uid").value_or("");
    Labels labels = meta.texts("labels");
    check_labels(meta, "labels", labels);
    out.labels = LabelSet(std::move(labels));
    out.annotations = read_annotations(meta.find("annotations"));
    if (const auto created = meta.text("creationTimestamp")) {
        out.created = names::parse_time(*created);
        if (!out.created)
            meta.fault("creationTimestamp", quoted(*created) + " is not an RFC 3339 time");
    }
    out.deleting = meta.has("deletionTimestamp");
    out.owners = read_owners(meta.find("ownerReferences"));
}

} // namespace weft::agent
