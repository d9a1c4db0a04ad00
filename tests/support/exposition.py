# SPDX-License-Identifier: Apache-2.0
"""Prometheus' text format, as strictly as our own pages need it."""
import re

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Metrics:
    """One scrape. Label order is kept, since the order is part of what Istio's users see."""

    def __init__(self, text):
        self.text = text
        self.samples = []  # (name, [(label, value)], number)
        for line in text.splitlines():
            if line and not line.startswith("#"):
                match = _SAMPLE.match(line)
                assert match, f"not an exposition line: {line!r}"
                self.samples.append((match[1], _LABEL.findall(match[2] or ""), float(match[3])))

    def find(self, name, **labels):
        return [(fields, value) for sample, fields, value in self.samples
                if sample == name and all(dict(fields).get(k) == str(v) for k, v in labels.items())]

    def total(self, name, **labels):
        return sum(value for _, value in self.find(name, **labels))

    def names(self):
        return sorted({name for name, _, _ in self.samples})
