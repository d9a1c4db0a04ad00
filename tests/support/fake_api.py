# SPDX-License-Identifier: Apache-2.0
"""As much of an API server as `weftctl check` asks: discovery, a CRD's metadata, reviews of access. Real ones: tests/kube."""
import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GATEWAY, ISTIO = "gateway.networking.k8s.io", "security.istio.io"
KINDS = {GATEWAY: {"v1": ["gatewayclasses", "gateways", "gateways/status", "httproutes", "grpcroutes"],
                   "v1beta1": ["gatewayclasses", "gateways", "httproutes"],
                   "v1alpha2": ["tcproutes", "tlsroutes"]},
         ISTIO: {"v1": ["authorizationpolicies", "requestauthentications"]}}


class FakeApi:
    """`groups`: {group: {version: [plural]}}; `denied`: {(verb, resource, subresource)} and `reviews`: what was asked."""

    def __init__(self, groups=None, denied=(), status=200):
        self.groups = KINDS if groups is None else groups
        self.denied, self.status, self.reviews = set(denied), status, []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, body, status=200):
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def do_GET(self):
                if api.status != 200:
                    return self.answer({"kind": "Status", "message": "Unauthorized"}, api.status)
                body = api.get(self.path)
                return self.answer(body or {"kind": "Status", "message": "not found"}, 200 if body else 404)

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.answer(api.review(asked), 201)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def get(self, path):
        parts = path.strip("/").split("/")
        if path == "/version":
            return {"gitVersion": "v1.35.0"}
        if parts[0] == "apis" and len(parts) == 2 and parts[1] in self.groups:
            return {"versions": [{"version": version} for version in self.groups[parts[1]]]}
        if parts[0] == "apis" and len(parts) == 3 and parts[2] in self.groups.get(parts[1], {}):
            return {"resources": [{"name": name} for name in self.groups[parts[1]][parts[2]]]}
        if path.endswith(f"/customresourcedefinitions/httproutes.{GATEWAY}"):
            return {"metadata": {"annotations": {f"{GATEWAY}/bundle-version": "v1.6.3", f"{GATEWAY}/channel": "standard"}}}
        return None

    def review(self, asked):
        if asked["kind"] == "SelfSubjectReview":
            return {"status": {"userInfo": {"username": "system:serviceaccount:weft-system:weft"}}}
        self.reviews.append(asked)
        what = asked["spec"]["resourceAttributes"]
        return {"status": {"allowed": (what["verb"], what["resource"], what.get("subresource", "")) not in self.denied}}

    def kubeconfig(self, folder):
        path = folder / f"kubeconfig-{self.server.server_port}"
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}],
            "users": [{"name": "u", "user": {"token": "secret"}}]}))
        return path


@contextlib.contextmanager
def fake_api(**options):
    api = FakeApi(**options)
    api.thread.start()
    try:
        yield api
    finally:
        api.server.shutdown()
        api.thread.join()
        api.server.server_close()
