# SPDX-License-Identifier: Apache-2.0
"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler, in the machine's own network namespace at the
address of the bridge that the nodes hang on."""
import subprocess
import urllib.error
import urllib.request

import pki
import processes
import settings
from kubectl import kubectl
from settings import CERTIFICATES, PROGRAMS, STATE, Failed, say, wait_for

READY_SECONDS = 90
NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def ip(*arguments, check=True):
    done = subprocess.run(["ip", *map(str, arguments)], capture_output=True, text=True, timeout=30)
    if check and done.returncode != 0:
        raise Failed(f"ip {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def create_bridge():
    ip("link", "add", settings.BRIDGE, "type", "bridge")
    ip("addr", "add", f"{settings.CONTROL_PLANE}/24", "dev", settings.BRIDGE)
    ip("link", "set", settings.BRIDGE, "up")


def start_etcd():
    client, peer = (f"http://127.0.0.1:{port}" for port in (settings.ETCD_CLIENT, settings.ETCD_PEER))
    processes.start("etcd", "etcd", "--name=weft-kube", f"--data-dir={STATE}/etcd",
                    f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
                    f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster=weft-kube={peer}", "--logger=zap",
                    "--unsafe-no-fsync")  # nothing of it is to survive the machine
    _wait("etcd", lambda: _etcd_is_healthy(f"{client}/health"))


def start_api_server():
    """Also by tests that have killed it: everything it knows is in etcd."""
    files = {"client-ca-file": "ca.crt", "tls-cert-file": "apiserver.crt", "tls-private-key-file": "apiserver.key",
             "kubelet-client-certificate": "apiserver-kubelet.crt", "kubelet-client-key": "apiserver-kubelet.key",
             "kubelet-certificate-authority": "ca.crt", "service-account-key-file": "service-accounts.key",
             "service-account-signing-key-file": "service-accounts.key"}
    processes.start(
        "kube-apiserver", PROGRAMS / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{settings.ETCD_CLIENT}",
        "--bind-address=0.0.0.0", f"--secure-port={settings.API_PORT}", f"--advertise-address={settings.CONTROL_PLANE}",
        f"--service-cluster-ip-range={settings.SERVICE_RANGE}", "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer=https://kubernetes.default.svc.{settings.CLUSTER_DOMAIN}",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        *[f"--{flag}={CERTIFICATES / name}" for flag, name in files.items()])
    _wait("kube-apiserver", api_is_ready)


def api_is_ready():
    return kubectl("get", "--raw", "/readyz", "--request-timeout=5s", check=False, seconds=15).returncode == 0


def start_controllers():
    """Controller manager and scheduler; returns when the first namespace is complete."""
    _start_controller("kube-controller-manager", "controller-manager",
                      f"--service-account-private-key-file={CERTIFICATES / 'service-accounts.key'}",
                      f"--root-ca-file={CERTIFICATES / 'ca.crt'}", "--use-service-account-credentials=true",
                      f"--cluster-signing-cert-file={CERTIFICATES / 'ca.crt'}",
                      f"--cluster-signing-key-file={CERTIFICATES / 'ca.key'}", "--allocate-node-cidrs=true",
                      f"--cluster-cidr={settings.POD_RANGE}", f"--service-cluster-ip-range={settings.SERVICE_RANGE}")
    _start_controller("kube-scheduler", "scheduler")
    _wait("kube-controller-manager", lambda: kubectl("-n", "default", "get", "serviceaccount", "default",
                                                     check=False).returncode == 0)


def _start_controller(name, user, *flags):
    config = pki.kubeconfig(user)
    processes.start(name, PROGRAMS / name, f"--kubeconfig={config}", f"--authentication-kubeconfig={config}",
                    f"--authorization-kubeconfig={config}", "--leader-elect=false", "--bind-address=127.0.0.1", *flags)


def _wait(name, condition):
    wait_for(condition, READY_SECONDS, f"{name} is not ready", name, lambda: processes.alive(name))
    say(f"{name} is ready")


def _etcd_is_healthy(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return b"true" in answer.read()
    except (urllib.error.URLError, OSError):
        return False
