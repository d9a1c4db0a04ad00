# SPDX-License-Identifier: Apache-2.0
"""weft-cni as a container runtime calls it."""
import json
import os
import subprocess

from lab import binary


class Runtime:
    """Calls the real plugin for a lab's pods; each pod has one sandbox at a time, named after a count."""

    def __init__(self, lab, version="1.0.0", **settings):
        self.lab, self.version = lab, version
        self.settings = {"socket": str(lab.folder / "cni.sock"), "timeoutSeconds": 5, **settings}

    def configuration(self, pod=None, **changes):
        conf = {"cniVersion": self.version, "name": "pods", "type": "weft-cni", **self.settings, **changes}
        if pod is not None:
            conf["prevResult"] = self.result(pod)
        return conf

    def result(self, pod):
        """What the plugin before gives: an interface outside, one inside, and the pod's addresses on that."""
        return {"cniVersion": self.version,
                "interfaces": [{"name": pod.link, "mac": "02:00:00:00:00:01"},
                               {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": f"/run/netns/{pod.netns}"}],
                "ips": [{"address": f"{pod.ip4}/16", "gateway": "10.77.0.1", "interface": 1},
                        {"address": f"{pod.ip6}/64", "interface": 1}],
                "routes": [{"dst": "0.0.0.0/0"}], "dns": {}}

    def environment(self, command, pod, container="c1", interface="eth0", netns=True):
        uid = getattr(pod, "uid", "")
        return {**os.environ, "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": interface,
                "CNI_NETNS": f"/run/netns/{pod.netns}" if netns else "", "CNI_PATH": "/opt/cni/bin",
                "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={pod.namespace};K8S_POD_NAME={pod.name};"
                            f"K8S_POD_INFRA_CONTAINER_ID={container};K8S_POD_UID={uid}"}

    def begin(self, command, pod, container="c1", stdin=None, **options):
        """Starts the plugin and returns its process; see end()."""
        changes = {key: options.pop(key) for key in list(options) if key in ("failurePolicy", "timeoutSeconds",
                                                                             "excludeNamespaces")}
        process = subprocess.Popen([binary("weft-cni")], env=self.environment(command, pod, container, **options),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   start_new_session=True)
        process.stdin.write(json.dumps(self.configuration(pod, **changes)) if stdin is None else stdin)
        process.stdin.close()
        process.stdin = None  # communicate() would flush it
        return process

    def call(self, command, pod, *arguments, **options):
        return end(self.begin(command, pod, *arguments, **options))


def end(process, seconds=30):
    """(exit code, what it printed as JSON or None, stderr)"""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, json.loads(out) if out else None, err
