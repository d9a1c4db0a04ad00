# SPDX-License-Identifier: Apache-2.0
"""The programs of the cluster and the CRDs, built from Go modules at the versions of gomods/*/go.sum. Each has a stamp
of all that it is made from: what has not changed is not built again, whatever was interrupted before."""
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import time
from typing import NamedTuple

import settings
from settings import CACHE, MODULES, PROGRAMS, Failed, say, why

GO_NEEDED = (1, 26)  # of the newest go.mod below gomods
GO_TOOLCHAIN = "1.26.8"  # fetched, as a Go module, where the machine's Go is older
BUILD_SECONDS = 3600  # the largest takes 9 minutes on two cores
FETCH_SECONDS = 900
CHANNEL = "standard"  # of the Gateway API: what operators install


class Program(NamedTuple):
    name: str
    module: str
    package: str
    version: str
    flags: str = ""
    tags: str = ""


def _kubernetes(name):
    # Without these they call themselves v0.0.0-master: kubectl's skew check, Helm's .Capabilities.KubeVersion and the
    # nodes' status read them.
    version = settings.module_version("kube", "k8s.io/kubernetes")
    major, minor, _ = version[1:].split(".")
    flags = []
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        flags += [f"-X {package}.gitVersion={version}", f"-X {package}.gitMajor={major}",
                  f"-X {package}.gitMinor={minor}", f"-X {package}.gitTreeState=clean",
                  f"-X {package}.gitCommit={'0' * 40}"]
    return Program(name, "kube", f"k8s.io/kubernetes/cmd/{name}", version, " ".join(flags))


def programs():
    """In the order of building: the API server first, whose packages most others share."""
    kubernetes = [_kubernetes(name) for name in ("kube-apiserver", "kubectl", "kubelet", "kube-controller-manager",
                                                 "kube-scheduler", "kube-proxy")]
    version = settings.module_version("kube", "k8s.io/kubernetes")
    helm = settings.module_version("helm", "helm.sh/helm/v3")
    return [*kubernetes,
            Program("coredns", "coredns", ".", settings.module_version("coredns", "github.com/coredns/coredns")),
            Program("helm", "helm", "helm.sh/helm/v3/cmd/helm", helm,
                    " ".join([f"-X helm.sh/helm/v3/internal/version.version={helm}",
                              *(f"-X helm.sh/helm/v3/pkg/{package}.k8sVersion{part}={number}"
                                for package in ("chartutil", "lint/rules")
                                for part, number in zip(("Major", "Minor"), version[1:].split(".")))])),
            # Of its ways to discover targets only Kubernetes': the others are most of what would be compiled.
            Program("prometheus", "prometheus", "github.com/prometheus/prometheus/cmd/prometheus",
                    settings.module_version("prometheus", "github.com/prometheus/prometheus"),
                    tags="remove_all_sd,enable_kubernetes_sd")]


def ensure():
    """Builds what is missing or of other versions; returns {name: stamp} of everything."""
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    stamps = {}
    for program in programs():
        stamps[program.name] = _ensure_program(program)
    stamps["crds"] = _ensure_crds()
    return stamps


def crd_files():
    return sorted((CACHE / "crds").glob("*.yaml"))


def _ensure_program(program):
    wanted = f"{program.version} {_digest(program.module, program)}"
    stamp = PROGRAMS / f"{program.name}.stamp"
    if (PROGRAMS / program.name).exists() and _text(stamp) == wanted:
        return wanted
    say(f"building {program.name} {program.version} (log: {settings.log_of('build-' + program.name)})")
    began = time.monotonic()
    stamp.unlink(missing_ok=True)
    fresh = PROGRAMS / f".{program.name}.new"
    _go(program.module, f"build-{program.name}", BUILD_SECONDS, "build", "-ldflags", f"-s -w {program.flags}",
        *(["-tags", program.tags] if program.tags else []), "-o", fresh, program.package)
    fresh.rename(PROGRAMS / program.name)
    stamp.write_text(wanted)
    say(f"built {program.name} in {time.monotonic() - began:.0f} s")
    return wanted


def _ensure_crds():
    wanted = _digest("crds", CHANNEL)
    folder, stamp = CACHE / "crds", CACHE / "crds" / "stamp"
    if _text(stamp) == wanted:
        return wanted
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    modules = ("sigs.k8s.io/gateway-api", "istio.io/api")
    listing = _go("crds", "build-crds", FETCH_SECONDS, "mod", "download", "-json", *modules)
    gateway, istio = (pathlib.Path(folder) for folder in re.findall(r'"Dir": "([^"]+)"', listing))
    for source in [*(gateway / "config/crd" / CHANNEL).glob("gateway*.yaml"),
                   istio / "kubernetes/customresourcedefinitions.gen.yaml"]:
        shutil.copyfile(source, folder / source.name)
    stamp.write_text(wanted)
    return wanted


def _digest(module, *more):
    """Of the module's files and of how the program is built from them."""
    digest = hashlib.sha256(json.dumps(more).encode())
    for path in sorted((MODULES / module).iterdir()):
        if path.name.endswith((".mod", ".sum", ".go")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _text(path):
    return path.read_text() if path.exists() else None


def _go(module, log, seconds, *arguments):
    return _run(log, seconds, [_go_program(), *arguments], cwd=MODULES / module,
                env=_environment(GOFLAGS="-mod=readonly -trimpath -buildvcs=false"))


def _environment(**more):
    return {**os.environ, "GOMODCACHE": str(CACHE / "gomod"), "GOCACHE": str(CACHE / "gocache"), "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local", "GOWORK": "off", **more}


def _run(log, seconds, command, **options):
    path = settings.log_of(log)
    with open(path, "w") as errors:
        try:
            done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=errors, text=True, timeout=seconds, **options)
        except subprocess.TimeoutExpired:
            raise Failed(f"{command[0]} {command[1]} takes longer than {seconds} s; {why(log)}") from None
    if done.returncode != 0:
        raise Failed(f"{command[0]} {command[1]} failed; {why(log)}")
    return done.stdout


_found_go = []


def _go_program():
    """The machine's Go if it is new enough, else a newer one beside the built programs."""
    if not _found_go:
        _found_go.append(_find_go())
    return _found_go[0]


def _find_go():
    if not shutil.which("go"):
        raise Failed("there is no Go: run ./setup.sh --kube")
    version = _run("go-version", 60, ["go", "version"], env=_environment())
    match = re.search(r"go(\d+)\.(\d+)", version)
    if match and (int(match[1]), int(match[2])) >= GO_NEEDED:
        return "go"
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    say(f"this machine has {version.split()[2]}, Kubernetes needs a newer one: fetching {GO_TOOLCHAIN}")
    toolchain = f"golang.org/toolchain@v0.0.1-go{GO_TOOLCHAIN}.linux-{machine}"
    listing = _run("go-toolchain", FETCH_SECONDS, ["go", "mod", "download", "-json", toolchain], cwd="/",
                   env=_environment(GOFLAGS=""))
    folder = pathlib.Path(json.loads(listing)["Dir"])
    for path in [*folder.glob("bin/*"), *folder.glob("pkg/tool/*/*")]:  # zips of modules carry no permission bits
        path.chmod(0o755)
    return str(folder / "bin" / "go")
