// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "agent/source/decode.hpp"
#include "agent/source/names.hpp"

/// Kinds of the core and discovery groups. Fields of Kubernetes that Weft does not use are listed by name and ignored,
/// so that real `kubectl get -o yaml` output is accepted while a misspelt field is not.
namespace weft::agent {
namespace {

constexpr size_t containers_max = 1024;
constexpr size_t container_ports_max = 1024;
constexpr size_t conditions_max = 256;
constexpr size_t service_ports_max = 1024;
constexpr size_t addresses_max = 16;
constexpr size_t slice_endpoints_max = 1000;
constexpr size_t slice_addresses_max = 100;
constexpr size_t slice_ports_max = 20'000;

Protocol decode_protocol(Fields& fields) {
    const auto text = fields.one_of("protocol", {"TCP", "UDP", "SCTP"});
    return text == "UDP" ? Protocol::udp : text == "SCTP" ? Protocol::sctp : Protocol::tcp;
}

uint16_t required_port(Fields& fields, std::string_view name) {
    if (!fields.has(name))
        fields.fault(name, "is required");
    return static_cast<uint16_t>(fields.integer(name, 1, 65535).value_or(0));
}

std::optional<IpAddress> address_of(const std::string& text, const Path& path, Faults& faults) {
    auto address = IpAddress::parse(text);
    if (!address)
        faults.add(path, quoted(text) + " is not an IP address");
    else if (address->is_unspecified() || address->is_loopback())
        faults.add(path, quoted(text) + " cannot be an address of a pod or service");
    else
        return address;
    return std::nullopt;
}

void add_address(std::vector<IpAddress>& list, const IpAddress& address, const Path& path, Faults& faults) {
    if (std::find(list.begin(), list.end(), address) != list.end())
        return;
    if (std::any_of(list.begin(), list.end(), [&](const auto& other) { return other.is_v4() == address.is_v4(); }))
        return faults.add(path, "is a second address of one IP family");
    list.push_back(address);
}

void decode_container(Fields& fields, Pod& out, bool init) {
    fields.ignore({"args",
                   "command",
                   "env",
                   "envFrom",
                   "image",
                   "imagePullPolicy",
                   "lifecycle",
                   "livenessProbe",
                   "name",
                   "readinessProbe",
                   "resizePolicy",
                   "resources",
                   "restartPolicyRules",
                   "securityContext",
                   "startupProbe",
                   "stdin",
                   "stdinOnce",
                   "terminationMessagePath",
                   "terminationMessagePolicy",
                   "tty",
                   "volumeDevices",
                   "volumeMounts",
                   "workingDir"});
    const bool counts = fields.text("restartPolicy") == "Always" || !init; // init: sidecars only
    fields.each_map("ports", container_ports_max, [&](Fields& port) {
        Pod::Port value;
        value.name = port.text("name", names::is_port_name, "a port name").value_or("");
        value.port = required_port(port, "containerPort");
        value.protocol = decode_protocol(port);
        port.ignore({"hostIP", "hostPort"});
        if (counts)
            out.ports.push_back(std::move(value));
    });
}

void decode_pod_spec(Fields& spec, Pod& out) {
    spec.ignore({"activeDeadlineSeconds",
                 "affinity",
                 "automountServiceAccountToken",
                 "dnsConfig",
                 "dnsPolicy",
                 "enableServiceLinks",
                 "ephemeralContainers",
                 "hostAliases",
                 "hostIPC",
                 "hostPID",
                 "hostUsers",
                 "hostname",
                 "hostnameOverride",
                 "imagePullSecrets",
                 "nodeSelector",
                 "os",
                 "overhead",
                 "preemptionPolicy",
                 "priority",
                 "priorityClassName",
                 "readinessGates",
                 "resourceClaims",
                 "resources",
                 "restartPolicy",
                 "runtimeClassName",
                 "schedulerName",
                 "schedulingGates",
                 "securityContext",
                 "serviceAccount",
                 "setHostnameAsFQDN",
                 "shareProcessNamespace",
                 "subdomain",
                 "terminationGracePeriodSeconds",
                 "tolerations",
                 "topologySpreadConstraints",
                 "volumes",
                 "workloadRef"});
    const auto account = spec.text("serviceAccountName");
    if (account && !account->empty()) {
        if (!names::is_dns_subdomain(*account))
            spec.fault("serviceAccountName", quoted(*account) + " is not a DNS subdomain");
        out.service_account = *account;
    } else if (const auto legacy = spec.text("serviceAccount", names::is_dns_subdomain, "a DNS subdomain")) {
        out.service_account = *legacy;
    }
    if (const auto node = spec.text("nodeName"); node && !node->empty()) {
        if (!names::is_dns_subdomain(*node))
            spec.fault("nodeName", quoted(*node) + " is not a DNS subdomain");
        out.node_name = *node;
    }
    out.host_network = spec.boolean("hostNetwork").value_or(false);
    spec.each_map("containers", containers_max, [&](Fields& fields) { decode_container(fields, out, false); });
    spec.each_map("initContainers", containers_max, [&](Fields& fields) { decode_container(fields, out, true); });
}

void decode_pod_status(Fields& status, Pod& out) {
    status.ignore({"allocatedResources", "containerStatuses", "ephemeralContainerStatuses",
                   "extendedResourceClaimStatus", "hostIP", "hostIPs", "initContainerStatuses", "message",
                   "nominatedNodeName", "observedGeneration", "qosClass", "reason", "resize", "resourceClaimStatuses",
                   "resources", "startTime"});
    const auto phase = status.one_of("phase", {"Pending", "Running", "Succeeded", "Failed", "Unknown"});
    out.finished = phase == "Succeeded" || phase == "Failed";
    status.each_map("conditions", conditions_max, [&](Fields& condition) {
        const auto type = condition.text("type");
        const auto state = condition.one_of("status", {"True", "False", "Unknown"});
        condition.ignore({"lastProbeTime", "lastTransitionTime", "message", "observedGeneration", "reason"});
        if (type == "Ready")
            out.ready = state == "True";
    });
    if (const auto first = status.text("podIP"); first && !first->empty()) {
        if (const auto address = address_of(*first, status.at("podIP"), status.faults()))
            out.addresses.push_back(*address);
    }
    status.each_map("podIPs", addresses_max, [&](Fields& fields) {
        const auto text = fields.text("ip");
        if (!text)
            return fields.fault("ip", "is required");
        if (const auto address = address_of(*text, fields.at("ip"), fields.faults()))
            add_address(out.addresses, *address, fields.at("ip"), fields.faults());
    });
}

ServicePort decode_service_port(Fields& fields) {
    ServicePort out;
    out.name = fields.text("name", names::is_dns_label, "a DNS label").value_or("");
    out.port = required_port(fields, "port");
    out.protocol = decode_protocol(fields);
    out.app_protocol = fields.text("appProtocol", names::is_app_protocol, "an application protocol");
    out.target = out.port;
    fields.ignore({"nodePort"});
    const Value* target = fields.find("targetPort");
    if (target != nullptr && target->type == Value::Type::text) {
        if (!names::is_port_name(target->text))
            fields.fault("targetPort", quoted(target->text) + " is neither a port nor a port name");
        out.target = target->text;
    } else if (target != nullptr) {
        const auto number = fields.integer("targetPort", 0, 65535); // 0: the Kubernetes API fills in the port
        if (number && *number != 0)
            out.target = static_cast<uint16_t>(*number);
    }
    return out;
}

void check_service_ports(Fields& spec, const std::vector<ServicePort>& ports) {
    std::set<std::string> names_seen;
    std::set<std::pair<uint16_t, Protocol>> ports_seen;
    const Path list = spec.at("ports");
    for (size_t i = 0; i < ports.size(); ++i) {
        const Path item(&list, i);
        if (ports.size() > 1 && ports[i].name.empty())
            spec.faults().add(Path(&item, "name"), "is required when there are several ports");
        else if (!names_seen.insert(ports[i].name).second)
            spec.faults().add(Path(&item, "name"), quoted(ports[i].name) + " is the name of another port too");
        if (ports[i].port != 0 && !ports_seen.insert({ports[i].port, ports[i].protocol}).second)
            spec.faults().add(Path(&item, "port"), "is given twice");
    }
}

void decode_families(Fields& spec, Service& out) {
    spec.each("ipFamilies", 2, [&](const Value& value, const Path& path) {
        const auto text = text_of(value, path, spec.faults());
        if (text == "IPv4")
            out.ipv4 = true;
        else if (text == "IPv6")
            out.ipv6 = true;
        else if (text)
            spec.faults().add(path, quoted(*text) + " is not one of IPv4, IPv6");
    });
    if (out.ipv4 || out.ipv6)
        return;
    for (const auto& address : out.cluster_ips)
        (address.is_v4() ? out.ipv4 : out.ipv6) = true;
}

void decode_cluster_ips(Fields& spec, Service& out) {
    const auto add = [&](const std::string& text, const Path& path) {
        if (text.empty() || text == "None")
            return;
        if (const auto address = address_of(text, path, spec.faults()))
            add_address(out.cluster_ips, *address, path, spec.faults());
    };
    if (const auto text = spec.text("clusterIP"))
        add(*text, spec.at("clusterIP"));
    spec.each("clusterIPs", 2, [&](const Value& value, const Path& path) {
        if (const auto text = text_of(value, path, spec.faults()))
            add(*text, path);
    });
}

void decode_service_spec(Fields& spec, Service& out) {
    spec.ignore({"allocateLoadBalancerNodePorts", "externalIPs", "externalName", "externalTrafficPolicy",
                 "healthCheckNodePort", "internalTrafficPolicy", "ipFamilyPolicy", "loadBalancerClass",
                 "loadBalancerIP", "loadBalancerSourceRanges", "sessionAffinity", "sessionAffinityConfig",
                 "topologyKeys", "trafficDistribution"});
    out.external_name =
        spec.one_of("type", {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"}) == "ExternalName";
    decode_cluster_ips(spec, out);
    if (out.external_name)
        out.cluster_ips.clear();
    decode_families(spec, out);
    out.publish_not_ready = spec.boolean("publishNotReadyAddresses").value_or(false);
    out.selector = spec.texts("selector");
    spec.each_map("ports", service_ports_max, [&](Fields& port) { out.ports.push_back(decode_service_port(port)); });
    check_service_ports(spec, out.ports);
}

void decode_slice_endpoint(Fields& fields, bool fqdn, EndpointSlice& out) {
    fields.ignore({"deprecatedTopology", "hints", "hostname", "nodeName", "targetRef", "zone"});
    EndpointSlice::Endpoint endpoint;
    const size_t count = fields.each("addresses", slice_addresses_max, [&](const Value& value, const Path& path) {
        const auto text = text_of(value, path, fields.faults());
        if (!text || fqdn)
            return;
        if (const auto address = address_of(*text, path, fields.faults()))
            endpoint.addresses.push_back(*address);
    });
    if (count == 0)
        fields.fault("addresses", "must hold at least one address");
    fields.map("conditions", [&](Fields& conditions) {
        endpoint.ready = conditions.boolean("ready").value_or(!conditions.has("ready"));
        conditions.boolean("serving");
        conditions.boolean("terminating");
    });
    if (!fqdn)
        out.endpoints.push_back(std::move(endpoint));
}

} // namespace

void decode(Fields& object, Namespace&) {
    object.ignore({"spec", "status"});
}

void decode(Fields& object, Pod& out) {
    object.required_map("spec", [&](Fields& spec) { decode_pod_spec(spec, out); });
    object.map("status", [&](Fields& status) { decode_pod_status(status, out); });
}

void decode(Fields& object, Service& out) {
    object.required_map("spec", [&](Fields& spec) { decode_service_spec(spec, out); });
    object.map("status", [&](Fields& status) { status.ignore({"conditions", "loadBalancer"}); });
}

void decode(Fields& object, EndpointSlice& out) {
    const auto type = object.one_of("addressType", {"IPv4", "IPv6", "FQDN"});
    if (!type && !object.has("addressType"))
        object.fault("addressType", "is required");
    if (const auto owner = out.meta.labels.find("kubernetes.io/service-name"); owner != out.meta.labels.end())
        out.service = owner->second;
    object.each_map("endpoints", slice_endpoints_max,
                    [&](Fields& fields) { decode_slice_endpoint(fields, type == "FQDN", out); });
    object.each_map("ports", slice_ports_max, [&](Fields& fields) {
        EndpointSlice::Port port;
        const auto name = fields.text("name");
        if (name && !name->empty() && !names::is_dns_label(*name))
            fields.fault("name", quoted(*name) + " is not a DNS label");
        port.name = name.value_or("");
        if (const auto number = fields.integer("port", 1, 65535))
            port.port = static_cast<uint16_t>(*number);
        port.protocol = decode_protocol(fields);
        fields.text("appProtocol", names::is_app_protocol, "an application protocol");
        out.ports.push_back(std::move(port));
    });
}

} // namespace weft::agent
