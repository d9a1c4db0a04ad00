# SPDX-License-Identifier: Apache-2.0
"""The generated cluster: what controllers and kubelets would have written, of the size and shape that real objects have
(managed fields come from the API server itself). Everything follows from a Size: the same one gives the same objects."""
import dataclasses
import hashlib

WAYPOINT = "waypoint"
PORT = 8080
KUBELET, CONTROLLER, PEOPLE = "kubelet", "kube-controller-manager", "kubectl-client-side-apply"


@dataclasses.dataclass(frozen=True)
class Size:
    pods: int
    services: int
    routes: int
    policies: int
    namespaces: int
    nodes: int

    def namespace_of(self, service):
        return f"team-{service % self.namespaces:02}"

    def service_of(self, pod):
        return pod % self.services

    def pods_of(self, service):
        return range(service, self.pods, self.services)


def digest(*words, length=10):
    return hashlib.sha256("/".join(map(str, words)).encode()).hexdigest()[:length]


def pod_address(pod, generation=0):
    """Its next address is one of a range of its own, as far from all others."""
    return f"10.{128 + generation % 2 * 64 + pod // 65536}.{pod // 256 % 256}.{pod % 256}"


def pod_name(size, pod):
    return f"app-{size.service_of(pod):04}-{digest('set', size.service_of(pod))}-{digest('pod', pod, length=5)}"


def namespace(name):
    return {"metadata": {"name": name, "labels": {"istio.io/dataplane-mode": "ambient", "team": name}}}


def pod(size, number):
    """As the ReplicaSet controller creates it, with the API access volume that admission adds."""
    service = size.service_of(number)
    app, generation = f"app-{service:04}", digest("set", service)
    probe = {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 10, "timeoutSeconds": 2}
    return {
        "metadata": {
            "name": pod_name(size, number),
            "labels": {"app": app, "version": f"v{service % 3}", "pod-template-hash": generation,
                       "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": size.namespace_of(service),
                       "app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"checksum/config": digest("config", service, length=64), "prometheus.io/scrape": "true",
                            "prometheus.io/port": str(PORT), "kubectl.kubernetes.io/restartedAt": "2026-03-01T09:30:00Z"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{app}-{generation}",
                                 "uid": uid("set", service), "controller": True, "blockOwnerDeletion": True}]},
        "spec": {
            "nodeName": f"node-{number % size.nodes:03}", "serviceAccountName": f"{app}-account", "dnsPolicy": "ClusterFirst",
            "terminationGracePeriodSeconds": 30, "enableServiceLinks": True,
            "containers": [{
                "name": "app", "image": f"registry.example/{size.namespace_of(service)}/{app}:1.{number % 7}.0",
                "ports": [{"name": "http", "containerPort": PORT}, {"name": "metrics", "containerPort": 9090}],
                "env": [{"name": f"SETTING_{i}", "value": f"value-{i}-of-{app}"} for i in range(8)] +
                       [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "livenessProbe": probe, "readinessProbe": probe,
                "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/app", "readOnly": True},
                                 {"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                                  "readOnly": True}]}],
            "volumes": [{"name": "config", "configMap": {"name": app}},
                        {"name": "kube-api-access", "projected": {"sources": [
                            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                            {"downwardAPI": {"items": [{"path": "namespace",
                                                        "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}],
            "tolerations": [{"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute",
                             "tolerationSeconds": 300} for taint in ("not-ready", "unreachable")]}}


def pod_status(size, number, ready=True, generation=0):
    """As the kubelet writes it."""
    since, address = "2026-03-01T09:30:12Z", pod_address(number, generation)
    host = f"192.168.{number % size.nodes // 250}.{number % size.nodes % 250 + 1}"
    image = f"registry.example/{size.namespace_of(size.service_of(number))}/app@sha256:{digest('image', number, length=64)}"
    conditions = {"PodReadyToStartContainers": True, "Initialized": True, "Ready": ready, "ContainersReady": ready,
                  "PodScheduled": True}
    return {"phase": "Running", "hostIP": host, "hostIPs": [{"ip": host}], "podIP": address, "podIPs": [{"ip": address}],
            "qosClass": "Burstable", "startTime": "2026-03-01T09:30:05Z",
            "conditions": [{"type": kind, "status": str(value), "lastProbeTime": None, "lastTransitionTime": since}
                           for kind, value in conditions.items()],
            "containerStatuses": [{"name": "app", "ready": ready, "started": True, "restartCount": 0, "image": image,
                                   "imageID": image, "containerID": f"containerd://{digest('id', number, length=64)}",
                                   "lastState": {}, "state": {"running": {"startedAt": since}}}]}


def uid(*words):
    text = digest(*words, length=32)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def service(size, number):
    app = f"app-{number:04}"
    labels = {"app": app, "app.kubernetes.io/managed-by": "Helm"}
    if number % 4 == 0:
        labels["istio.io/use-waypoint"] = WAYPOINT
    return {"metadata": {"name": app, "labels": labels,
                         "annotations": {"meta.helm.sh/release-name": app,
                                         "meta.helm.sh/release-namespace": size.namespace_of(number)}},
            "spec": {"selector": {"app": app}, "ports": [{"name": "http", "port": 80, "targetPort": PORT}]}}


def endpoint(size, pod_number, ready=True, generation=0):
    return {"addresses": [pod_address(pod_number, generation)], "nodeName": f"node-{pod_number % size.nodes:03}",
            "conditions": {"ready": ready, "serving": ready, "terminating": False},
            "targetRef": {"kind": "Pod", "name": pod_name(size, pod_number),
                          "namespace": size.namespace_of(size.service_of(pod_number)), "uid": uid("pod", pod_number)}}


def endpoint_slice(size, number, endpoints):
    return {"metadata": {"name": f"app-{number:04}-slice",
                         "labels": {"kubernetes.io/service-name": f"app-{number:04}", "app": f"app-{number:04}",
                                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
                         "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": f"app-{number:04}",
                                              "uid": uid("service", number), "controller": True}]},
            "addressType": "IPv4", "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
            "endpoints": endpoints}


def gateway():
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": WAYPOINT},
            "spec": {"gatewayClassName": "weft-waypoint",
                     "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]}}


def route(size, number):
    """Of the services in turn: a header's canary, a prefix with a split, and the rest."""
    target = number % size.services
    other = (target + size.namespaces) % size.services  # of the same namespace

    def to(*backends):
        return [{"name": f"app-{which:04}", "port": 80, "weight": weight} for which, weight in backends]
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": f"route-{number:04}", "labels": {"app": f"app-{target:04}"},
                         "annotations": {"owner": f"{size.namespace_of(target)}@example.com"}},
            "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": f"app-{target:04}", "port": 80}],
                     "rules": [
                         {"matches": [{"headers": [{"name": "x-canary", "value": f"c{number}"}],
                                       "path": {"type": "PathPrefix", "value": f"/v2/{number}"}}],
                          "backendRefs": to((other, 1))},
                         {"matches": [{"path": {"type": "PathPrefix", "value": f"/api/{number}"}}],
                          "backendRefs": to((target, 90), (other, 10))},
                         {"backendRefs": to((target, 1))}]}}


def policy(size, number):
    target = number * 4 % size.services  # those with a waypoint
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": f"policy-{number:03}"},
            "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": f"app-{target:04}"}], "action": "ALLOW",
                     "rules": [{"from": [{"source": {"principals": [
                         f"cluster.local/ns/{size.namespace_of(target)}/sa/app-{(target + size.namespaces * i) % size.services:04}"
                         "-account" for i in range(4)]}}],
                                "to": [{"operation": {"methods": ["GET", "POST"], "paths": ["/api/*", "/v2/*"]}}]},
                               {"from": [{"source": {"namespaces": ["monitoring"]}}],
                                "to": [{"operation": {"paths": ["/metrics"]}}]}]}}


GATEWAY_API = "/apis/gateway.networking.k8s.io/v1/namespaces"
SECURITY_API = "/apis/security.istio.io/v1/namespaces"
SLICES_API = "/apis/discovery.k8s.io/v1/namespaces"


def work(size):
    """Lists of functions of a Client, one after the other; those of one list in any order."""
    def post(path, body, manager):
        return lambda client: client.request("POST", f"{path}?fieldManager={manager}", body)

    def running(number):
        def create(client):
            path = f"/api/v1/namespaces/{size.namespace_of(size.service_of(number))}/pods"
            client.request("POST", f"{path}?fieldManager={CONTROLLER}", pod(size, number))
            client.merge(f"{path}/{pod_name(size, number)}/status", {"status": pod_status(size, number)}, KUBELET)
        return create

    names = [f"team-{number:02}" for number in range(size.namespaces)]
    yield [post("/api/v1/namespaces", namespace(name), PEOPLE) for name in names]
    rest = [post(f"{GATEWAY_API}/{name}/gateways", gateway(), PEOPLE) for name in names]
    for number in range(size.services):
        ns = size.namespace_of(number)
        endpoints = [endpoint(size, each) for each in size.pods_of(number)]
        rest.append(post(f"/api/v1/namespaces/{ns}/services", service(size, number), PEOPLE))
        rest.append(post(f"{SLICES_API}/{ns}/endpointslices", endpoint_slice(size, number, endpoints), CONTROLLER))
    for number in range(size.routes):
        ns = size.namespace_of(number % size.services)
        rest.append(post(f"{GATEWAY_API}/{ns}/httproutes", route(size, number), PEOPLE))
    for number in range(size.policies):
        ns = size.namespace_of(number * 4 % size.services)
        rest.append(post(f"{SECURITY_API}/{ns}/authorizationpolicies", policy(size, number), PEOPLE))
    yield rest + [running(number) for number in range(size.pods)]
