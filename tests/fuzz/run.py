#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every fuzz program of the tree for some seconds, two at a time; one closing line each.

An input that breaks a property stays under build/fuzz/findings/<target>; what is worth keeping of the corpus that grows
under build/fuzz/corpus/<target> is copied to tests/fuzz/corpus by hand, a fixed finding to tests/fuzz/regressions.
"""
import argparse
import concurrent.futures
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build/fuzz"
SEEDS = ROOT / "tests/fuzz"
SLACK_SECONDS = 120  # to load the corpus, and to write a finding down


def targets():
    return sorted(program.name.removeprefix("fuzz_") for program in (BUILD / "bin").glob("fuzz_*"))


def run(target, seconds):
    """The closing line, and whether all is well."""
    grown = BUILD / "corpus" / target
    findings = BUILD / "findings" / target
    for folder in (grown, findings):
        folder.mkdir(parents=True, exist_ok=True)
    seeds = [folder for folder in (SEEDS / "corpus" / target, SEEDS / "regressions" / target) if folder.is_dir()]
    log = BUILD / f"{target}.log"
    with log.open("wb") as out:
        try:
            status = subprocess.run(
                [BUILD / f"bin/fuzz_{target}", f"-max_total_time={seconds}", "-max_len=2048", "-timeout=10",
                 "-rss_limit_mb=1024", "-print_final_stats=1", f"-dict={SEEDS / 'http.dict'}",
                 f"-artifact_prefix={findings}/", grown, *seeds],
                stdout=out, stderr=subprocess.STDOUT, timeout=seconds + SLACK_SECONDS).returncode
        except subprocess.TimeoutExpired:
            status = "no end"
    text = log.read_text(errors="replace")
    if status == 0:
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
        edges = re.findall(r"cov: (\d+)", text)
        if runs and edges:
            return f"fuzz {target}: ok, {runs[1]} inputs, {edges[-1]} edges", True
    why = re.search(r"VIOLATED: .*|ERROR: .*|SUMMARY: .*|.*runtime error: .*", text)
    return f"fuzz {target}: FAILED ({status}): {why[0] if why else 'see the log'}; {log}, {findings}", False


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("target", nargs="*", help="default: all")
    asked = parser.parse_args()
    chosen = asked.target or targets()
    if not chosen:
        sys.exit("no fuzz programs under build/fuzz/bin")
    good = True
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for line, well in pool.map(lambda target: run(target, asked.seconds), chosen):
            print(line, flush=True)
            good = good and well
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
