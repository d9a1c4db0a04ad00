# SPDX-License-Identifier: Apache-2.0
"""A certificate authority that lives as long as the cluster, its certificates and the kubeconfigs made from them."""
import base64
import json
import os
import shutil
import subprocess

import settings
from settings import CERTIFICATES, Failed

DAYS = 30


def create():
    shutil.rmtree(CERTIFICATES, ignore_errors=True)
    CERTIFICATES.mkdir(parents=True, mode=0o700)
    _key("ca")
    _openssl("req", "-x509", "-new", "-key", "ca.key", "-days", DAYS, "-subj", "/CN=weft-kube-ca", "-out", "ca.crt")
    _key("service-accounts")
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
             f"kubernetes.default.svc.{settings.CLUSTER_DOMAIN}"]
    _server("apiserver", "/CN=kube-apiserver", names, ["127.0.0.1", settings.API_SERVICE, settings.CONTROL_PLANE])
    _client("apiserver-kubelet", "/O=system:masters/CN=apiserver-kubelet")
    local, remote = "127.0.0.1", settings.CONTROL_PLANE
    for name, subject, address in [
        ("admin", "/O=system:masters/CN=admin", local),
        ("controller-manager", "/CN=system:kube-controller-manager", local),
        ("scheduler", "/CN=system:kube-scheduler", local),
        ("proxy", "/CN=system:kube-proxy", remote),
        *[(node, f"/O=system:nodes/CN=system:node:{node}", remote) for node in settings.NODES],
    ]:
        _client(name, subject)
        _kubeconfig(name, address)
    for node in settings.NODES:
        _server(f"{node}-serving", f"/O=system:nodes/CN=system:node:{node}", [node], [settings.node_address(node)])


def kubeconfig(name):
    return CERTIFICATES / f"{name}.kubeconfig"


def _key(name):
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")


def _client(name, subject):
    _certificate(name, subject, "extendedKeyUsage=clientAuth")


def _server(name, subject, names, addresses):
    alternatives = ",".join([f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses])
    _certificate(name, subject, f"extendedKeyUsage=serverAuth\nsubjectAltName={alternatives}")


def _certificate(name, subject, extensions):
    _key(name)
    (CERTIFICATES / "extensions").write_text(f"keyUsage=critical,digitalSignature\n{extensions}\n")
    _openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
    _openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
             "-days", DAYS, "-extfile", "extensions", "-out", f"{name}.crt")


def _kubeconfig(name, address):
    def encoded(file):
        return base64.b64encode((CERTIFICATES / file).read_bytes()).decode()

    cluster = {"server": f"https://{address}:{settings.API_PORT}", "certificate-authority-data": encoded("ca.crt")}
    user = {"client-certificate-data": encoded(f"{name}.crt"), "client-key-data": encoded(f"{name}.key")}
    kubeconfig(name).write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "weft-kube",
        "clusters": [{"name": "weft-kube", "cluster": cluster}], "users": [{"name": name, "user": user}],
        "contexts": [{"name": "weft-kube", "context": {"cluster": "weft-kube", "user": name}}]}))
    os.chmod(kubeconfig(name), 0o600)


def _openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], cwd=CERTIFICATES, capture_output=True, text=True,
                          timeout=60)
    if done.returncode != 0:
        raise Failed(f"openssl {arguments[0]}: {done.stderr.strip()}")
