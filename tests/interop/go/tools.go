// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools names the programs that `make tools` builds at the versions of go.mod.
package tools

import (
	_ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
	_ "github.com/summerwind/h2spec/cmd/h2spec"
)
