# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects as tests write them: small functions that return dicts, and dump()."""
import yaml

WAYPOINT = "waypoint"


def dump(*objects):
    return yaml.safe_dump_all(objects, sort_keys=False)


def pod_manifest(pod, ready=True, labels=None, annotations=None, ips=None, owner=None):
    metadata = {"name": pod.name, "namespace": pod.namespace,
                "labels": dict(pod.labels, **(labels or {})),
                "annotations": {"weftmesh.io/netns": pod.netns, **(annotations or {})}}
    if owner:
        metadata["ownerReferences"] = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner,
                                        "uid": "0", "controller": True}]
    addresses = ips if ips is not None else [pod.ip4, pod.ip6]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"serviceAccountName": pod.service_account, "containers": [{"name": "app", "image": "app"}]},
            "status": {"phase": "Running", "podIP": addresses[0], "podIPs": [{"ip": ip} for ip in addresses],
                       "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}


def namespace(name, ambient=True, waypoint=None):
    labels = {"kubernetes.io/metadata.name": name}
    if ambient:
        labels["istio.io/dataplane-mode"] = "ambient"
    if waypoint:
        labels["istio.io/use-waypoint"] = waypoint
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def service(name, ips, port=9080, selector=None, waypoint=None, ns="default", target_port=None, app_protocol=None,
            port_name="http"):
    port_entry = {"name": port_name, "port": port, "protocol": "TCP"}
    if target_port:
        port_entry["targetPort"] = target_port
    if app_protocol:
        port_entry["appProtocol"] = app_protocol
    metadata = {"name": name, "namespace": ns}
    if waypoint:
        metadata["labels"] = {"istio.io/use-waypoint": waypoint}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"clusterIP": ips[0], "clusterIPs": list(ips), "ports": [port_entry],
                     "selector": selector if selector is not None else {"app": name}}}


def endpoint_slice(name, ips, port=9080, ns="default"):
    """The endpoints of a service that selects no pods."""
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": ns, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in ips]}


def waypoint_gateway(name=WAYPOINT, ns="default", gateway_class="weft-waypoint"):
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": name, "namespace": ns},
            "spec": {"gatewayClassName": gateway_class,
                     "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]}}


def service_parent(name, port=None, ns=None):
    parent = {"group": "", "kind": "Service", "name": name}
    if port:
        parent["port"] = port
    if ns:
        parent["namespace"] = ns
    return parent


def backend(name, port=9080, weight=None):
    reference = {"name": name, "port": port}
    if weight is not None:
        reference["weight"] = weight
    return reference


def http_route(name, parents, rules, ns="default", hostnames=None):
    spec = {"parentRefs": parents, "rules": rules}
    if hostnames:
        spec["hostnames"] = hostnames
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": ns}, "spec": spec}


def gateway_target(name=WAYPOINT):
    return {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}


def service_target(name):
    return {"group": "", "kind": "Service", "name": name}


def policy(name, action, rules, targets=None, ns="default"):
    spec = {"targetRefs": targets or [gateway_target()], "action": action}
    if rules is not None:
        spec["rules"] = rules
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": ns}, "spec": spec}
