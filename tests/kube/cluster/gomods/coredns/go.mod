// SPDX-License-Identifier: Apache-2.0

module weftmesh.io/tests/kube/cluster/gomods/coredns

go 1.26.0

require github.com/coredns/coredns v1.14.4
