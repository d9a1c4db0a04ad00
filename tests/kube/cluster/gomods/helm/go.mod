// SPDX-License-Identifier: Apache-2.0

module weftmesh.io/tests/kube/cluster/gomods/helm

go 1.26.0

require helm.sh/helm/v3 v3.22.0
