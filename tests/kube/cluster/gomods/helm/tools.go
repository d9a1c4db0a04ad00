// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools pins the command that this module builds.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
