// SPDX-License-Identifier: Apache-2.0
//
// Downloaded for the CRDs in them; nothing is built.

module weftmesh.io/tests/kube/cluster/gomods/crds

go 1.26.0

require (
	istio.io/api v1.31.1
	sigs.k8s.io/gateway-api v1.6.3
)
