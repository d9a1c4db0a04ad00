// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools pins the command that this module builds.
package tools

import _ "github.com/prometheus/prometheus/cmd/prometheus"
