// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "agent/source/decode.hpp"
#include "agent/source/names.hpp"

namespace weft::agent {
namespace {

constexpr size_t owners_max = 64;
constexpr size_t expressions_max = 64;
constexpr size_t selector_values_max = 256;

void check_labels(Fields& fields, std::string_view name, const Labels& labels, bool values) {
    const Path path = fields.at(name);
    for (const auto& [key, value] : labels) {
        if (!names::is_qualified_name(key))
            fields.faults().add(Path(&path, key), "is not a valid key");
        else if (values && !names::is_label_value(value))
            fields.faults().add(Path(&path, key), quoted(value) + " is not a label value");
    }
}

/// Annotations of others are the larger part of many an object (what kubectl last applied), and change without meaning
/// anything here.
bool is_read(std::string_view annotation) {
    const std::string_view domain = annotation.substr(0, annotation.find('/'));
    return domain == "istio.io" || domain.ends_with(".istio.io") || domain == "weftmesh.io" ||
           domain == "kubernetes.io";
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
    check_labels(selector, "matchLabels", out.match_labels, true);
    selector.each_map("matchExpressions", expressions_max,
                      [&](Fields& fields) { out.expressions.push_back(decode_requirement(fields)); });
    return out;
}

void decode_meta(Fields& meta, ObjectMeta& out) {
    // Name and namespace are read by the caller, which must know them even if the rest is faulty.
    meta.ignore({"name", "namespace", "generateName", "generation", "managedFields", "resourceVersion", "selfLink",
                 "finalizers", "deletionGracePeriodSeconds", "clusterName"});
    out.uid = meta.text("uid", names::is_uid, "a uid").value_or("");
    Labels labels = meta.texts("labels");
    check_labels(meta, "labels", labels, true);
    out.labels = LabelSet(std::move(labels));
    out.annotations = meta.texts("annotations");
    check_labels(meta, "annotations", out.annotations, false);
    std::erase_if(out.annotations, [](const auto& each) { return !is_read(each.first); });
    if (const auto created = meta.text("creationTimestamp")) {
        out.created = names::parse_time(*created);
        if (!out.created)
            meta.fault("creationTimestamp", quoted(*created) + " is not an RFC 3339 time");
    }
    out.deleting = meta.has("deletionTimestamp");
    meta.each_map("ownerReferences", owners_max, [&](Fields& fields) {
        OwnerRef owner;
        owner.kind = fields.required_text("kind", names::is_kind, "a kind");
        owner.name = fields.required_text("name", names::is_path_segment, "an object name");
        owner.controller = fields.boolean("controller").value_or(false);
        fields.ignore({"apiVersion", "uid", "blockOwnerDeletion"});
        out.owners.push_back(std::move(owner));
    });
}

} // namespace weft::agent
