# SPDX-License-Identifier: Apache-2.0
"""Objects that tests give to Weft."""

GATEWAY_GROUP = "gateway.networking.k8s.io"


def gateway(namespace, name="waypoint", **labels):
    return {"apiVersion": f"{GATEWAY_GROUP}/v1", "kind": "Gateway",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"gatewayClassName": "weft-waypoint",
                     "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]}}


def policy(namespace, name, rules, action="ALLOW", waypoint="waypoint"):
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"targetRefs": [{"group": GATEWAY_GROUP, "kind": "Gateway", "name": waypoint}], "action": action,
                     **({"rules": rules} if rules is not None else {})}}


def methods(*names):
    """Rules that match these methods."""
    return [{"to": [{"operation": {"methods": list(names)}}]}]


def route(namespace, name, service, port, backends):
    """`backends`: {service: weight}."""
    return {"apiVersion": f"{GATEWAY_GROUP}/v1", "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": service, "port": port}],
                     "rules": [{"backendRefs": [{"name": backend, "port": port, "weight": weight}
                                                for backend, weight in backends.items()]}]}}
