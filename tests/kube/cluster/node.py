# SPDX-License-Identifier: Apache-2.0
"""One node: namespaces of its own (network, mount, UTS, cgroup) on the bridge of the control plane, in them containerd,
kubelet and kube-proxy. Everything it runs is below one folder of each cgroup hierarchy, which ends it all."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time

import pki
import processes
import settings
from control_plane import ip
from images import IMAGES
from kubectl import kubectl
from settings import BRIDGE, CERTIFICATES, FOLDER, IMAGE_PREFIX, PROGRAMS, STATE, Failed, say, wait_for, why

CGROUPS = pathlib.Path("/sys/fs/cgroup")
NETNS = pathlib.Path("/run/netns")
PLUGINS = pathlib.Path("/usr/lib/cni")  # of the package; a node has them where Kubernetes expects them
DAEMONS = ("containerd", "kubelet", "kube-proxy")
READY_SECONDS = 90
IMPORT_SECONDS = 120
# Folder of the node -> what it is mounted on, in the node's mount namespace only.
MOUNTS = {"containerd": "/var/lib/containerd", "kubelet": "/var/lib/kubelet", "cni": "/var/lib/cni",
          "etc-cni": "/etc/cni", "opt": "/opt", "pod-logs": "/var/log/pods", "container-logs": "/var/log/containers"}

MADE = STATE / "made-folders"


def hierarchies():
    """Roots of the machine's cgroup hierarchies, cgroup2 last."""
    points = [line.split()[1:3] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    found = [(kind, pathlib.Path(point)) for point, kind in points if kind in ("cgroup", "cgroup2")]
    found = [(kind, point) for kind, point in found if CGROUPS in (point, *point.parents)]
    return [point for _, point in sorted(found)]


def create_mount_points():
    """What MOUNTS names and the machine lacks; noted, so that it goes with the cluster."""
    made = [folder for point in MOUNTS.values() for folder in [*reversed(pathlib.Path(point).parents), point]
            if not pathlib.Path(folder).exists()]
    MADE.write_text("".join(f"{folder}\n" for folder in made))
    for folder in made:
        pathlib.Path(folder).mkdir(exist_ok=True)


def remove_mount_points():
    for folder in reversed(MADE.read_text().split() if MADE.exists() else []):
        with contextlib.suppress(OSError):  # somebody else uses it by now
            os.rmdir(folder)


def _enable_controllers(root):
    """Of a machine that has cgroup2 alone: the kubelet wants them in its root. No change where cgroup v1 has them."""
    controllers = root / "cgroup.controllers"
    for name in controllers.read_text().split() if controllers.exists() else []:
        with contextlib.suppress(OSError):
            (root / "cgroup.subtree_control").write_text(f"+{name}")


class Node:
    def __init__(self, name):
        self.name, self.address = name, settings.node_address(name)
        self.folder = STATE / name
        self.link = f"weft-{name}"
        self.cgroups = [root / name for root in hierarchies()]
        self.pods = None  # its range of addresses, once registered

    # ---- up
    def create(self):
        """Namespaces and cgroups, held by a process of their own."""
        self.folder.mkdir(parents=True)
        self._create_network()
        self._create_cgroups()
        (self.folder / "mounts").write_text("".join(f"{own} {point}\n" for own, point in MOUNTS.items()))
        shutil.copytree(PLUGINS, self.folder / "opt" / "cni" / "bin")
        for own in MOUNTS:
            (self.folder / own).mkdir(exist_ok=True)
        name = f"{self.name}-holder"
        # Everything here becomes the next program in place: the recorded id stays that of the holder.
        processes.start(name, "nsenter", f"--net={NETNS / self.name}", "unshare", "--mount", "--uts", "--cgroup",
                        "--propagation", "private", FOLDER / "hold_node.sh", self.name, self.folder, join=self.cgroups)
        wait_for((self.folder / "held").exists, 20, f"{self.name} has no namespaces", name,
                 lambda: processes.alive(name))
        for folder in self._daemon_cgroups():  # cgroup2 has processes in leaves only
            (folder / "cgroup.procs").write_text(str(processes.pid_of(name)))

    def start_containerd(self):
        (self.folder / "containerd.toml").write_text(_containerd_config())
        self._start("containerd", "containerd", "--config", self.folder / "containerd.toml")
        wait_for(lambda: self.run("ctr", "version", check=False).returncode == 0, 30,
                 f"{self.name}: containerd does not answer", f"{self.name}-containerd",
                 lambda: processes.alive(f"{self.name}-containerd"))

    def begin_imports(self):
        """Of the cluster's own images; finish_imports() waits for it."""
        script = " && ".join(f"ctr -n k8s.io images import {path}" for path in sorted(IMAGES.glob("*.tar")))
        with open(settings.log_of(f"{self.name}-import"), "w") as log:
            return subprocess.Popen([*self._enter(), "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=log)

    def finish_imports(self, importing):
        try:
            status = importing.wait(timeout=IMPORT_SECONDS)
        except subprocess.TimeoutExpired:
            importing.kill()
            status = f"none after {IMPORT_SECONDS} s"
        if status != 0:
            raise Failed(f"{self.name}: images are not imported (status {status}); {why(f'{self.name}-import')}")

    def start_kubelet(self):
        (self.folder / "resolv.conf").write_text("")
        (self.folder / "kubelet.json").write_text(json.dumps(self._kubelet_config()))
        self._start("kubelet", PROGRAMS / "kubelet", f"--config={self.folder}/kubelet.json",
                    f"--kubeconfig={pki.kubeconfig(self.name)}", f"--hostname-override={self.name}",
                    f"--node-ip={self.address}", "--v=2")

    def wait_until_registered(self):
        def pods():
            return kubectl("get", "node", self.name, "-o", "jsonpath={.spec.podCIDR}", check=False).stdout

        self.pods = wait_for(pods, READY_SECONDS, f"{self.name} has no range of pod addresses",
                             f"{self.name}-kubelet", lambda: processes.alive(f"{self.name}-kubelet"))

    def connect(self, others):
        """Routes to and from the pods of the other nodes, CNI, kube-proxy."""
        ip("route", "replace", self.pods, "via", self.address)
        for other in others:
            ip("-n", self.name, "route", "replace", other.pods, "via", other.address)
        folder = self.folder / "etc-cni" / "net.d"
        folder.mkdir(exist_ok=True)  # containerd may have made it
        (folder / ".new").write_text(json.dumps(self._cni_config(), indent=2))
        (folder / ".new").rename(folder / "10-ptp.conflist")
        (self.folder / "proxy.json").write_text(json.dumps(self._proxy_config()))
        self._start("kube-proxy", PROGRAMS / "kube-proxy", f"--config={self.folder}/proxy.json")

    def wait_until_ready(self):
        def ready():
            answer = kubectl("get", "node", self.name, "-o",
                             'jsonpath={.status.conditions[?(@.type=="Ready")].status}', check=False)
            return answer.stdout == "True"

        kubelet = f"{self.name}-kubelet"
        wait_for(ready, READY_SECONDS, f"{self.name} is not Ready", kubelet, lambda: processes.alive(kubelet))
        for name in (f"{self.name}-{daemon}" for daemon in DAEMONS):
            if not processes.alive(name):
                raise Failed(f"{name} has ended; {why(name)}")
        say(f"{self.name} is Ready")

    def run(self, *command, seconds=30, check=True):
        """A command inside the node's namespaces."""
        done = subprocess.run([*self._enter(), *map(str, command)], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=seconds)
        if check and done.returncode != 0:
            raise Failed(f"{self.name}: {' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    # ---- down: works on whatever is there
    def kill(self, seconds=20.0):
        """Every process of the node, pods and their runtimes included."""
        deadline = time.monotonic() + seconds
        while self.processes() and time.monotonic() < deadline:
            for folder in self.cgroups:
                with contextlib.suppress(OSError):  # cgroup v1 has no such file
                    (folder / "cgroup.kill").write_text("1")
            time.sleep(0.05)

    def remove(self, seconds=20.0):
        """Network and cgroups, when no process is left."""
        if (NETNS / self.name).exists():
            ip("netns", "del", self.name, check=False)
        ip("link", "del", self.link, check=False)
        deadline = time.monotonic() + seconds
        while self._remove_cgroups() and time.monotonic() < deadline:
            time.sleep(0.05)

    def processes(self):
        found = set()
        for root in self.cgroups:
            for base, _, _ in os.walk(root):
                with contextlib.suppress(OSError):
                    found |= {int(line) for line in (pathlib.Path(base) / "cgroup.procs").read_text().split()}
        return found

    def leftovers(self):
        links = ip("-o", "link")
        return [f"process {pid}" for pid in self.processes()] + \
            [f"network namespace {self.name}"] * (NETNS / self.name).exists() + \
            [f"link {self.link}"] * (f" {self.link}@" in links or f" {self.link}:" in links) + \
            [f"cgroup {folder}" for folder in self.cgroups if folder.exists()]

    # ---- parts
    def _create_network(self):
        ip("netns", "add", self.name)
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("link", "set", self.link, "master", BRIDGE, "up")
        for line in ("link set lo up", f"addr add {self.address}/24 dev eth0", "link set eth0 up",
                     f"route add default via {settings.CONTROL_PLANE}"):
            ip("-n", self.name, *line.split())
        subprocess.run(["nsenter", f"--net={NETNS / self.name}", "sysctl", "-qw", "net.ipv4.ip_forward=1",
                        "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"], check=True, timeout=30)

    def _create_cgroups(self):
        for folder in self._daemon_cgroups():
            _enable_controllers(folder.parents[1])
            for made in (folder.parent, folder):
                made.mkdir(exist_ok=True)
                for name in ("cpuset.cpus", "cpuset.mems"):  # empty in a new folder of cgroup v1: no process may enter
                    if (made / name).exists() and (made.parent / name).exists():
                        (made / name).write_text((made.parent / name).read_text())

    def _remove_cgroups(self):
        for root in self.cgroups:
            for base, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(base)
        return [folder for folder in self.cgroups if folder.exists()]

    def _daemon_cgroups(self):
        return [folder / "daemons" for folder in self.cgroups]

    def _enter(self):
        pid = processes.pid_of(f"{self.name}-holder")
        if pid is None:
            raise Failed(f"{self.name} is not there: run make kube-up")
        return ["nsenter", f"--target={pid}", "--net", "--mount", "--uts", "--cgroup"]

    def _start(self, daemon, *command):
        processes.start(f"{self.name}-{daemon}", *self._enter(), *command, join=self._daemon_cgroups())

    # ---- configuration
    def _kubelet_config(self):
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "address": self.address,
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock", "cgroupDriver": "cgroupfs",
            "failCgroupV1": False, "failSwapOn": False, "resolvConf": f"{self.folder}/resolv.conf",
            "clusterDomain": settings.CLUSTER_DOMAIN, "clusterDNS": [settings.DNS_SERVICE],
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                               "x509": {"clientCAFile": f"{CERTIFICATES}/ca.crt"}},
            "authorization": {"mode": "Webhook"}, "tlsCertFile": f"{CERTIFICATES}/{self.name}-serving.crt",
            "tlsPrivateKeyFile": f"{CERTIFICATES}/{self.name}-serving.key",
            "volumePluginDir": "/var/lib/kubelet/volume-plugins", "nodeStatusUpdateFrequency": "5s",
            # A test machine's disk may be nearly full, and images have no registry to come from again.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100}

    def _proxy_config(self):
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(pki.kubeconfig("proxy"))}, "hostnameOverride": self.name,
            "mode": "nftables", "clusterCIDR": settings.POD_RANGE,
            # Zero: these are left alone, most of them belong to the whole machine.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}}

    def _cni_config(self):
        addresses = {"type": "host-local", "ranges": [[{"subnet": self.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
        return {"cniVersion": "0.4.0", "name": "ptp", "plugins": [
            {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}}]}


def _containerd_config():
    return f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE_PREFIX}pause:latest"
  # Without CAP_SYS_RESOURCE, as on many machines for tests, nobody may lower oom_score_adj.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""
