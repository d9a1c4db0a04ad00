#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make profile: runs a build that counts, and writes l7engine/profile.proftext (cmake/WeftProfile.cmake). The pure code of
# a request, and requests over the simulated ring: what is usual often, and everything that the tests do once.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/profile
raw=$build/raw
text=l7engine/profile.proftext

cmake --preset release -B $build -DWEFT_PROFILE=make >$build.log
ninja -C $build -j "$(nproc)" --quiet codec_bench sim_proxy
rm -rf $raw
mkdir $raw
export LLVM_PROFILE_FILE=$PWD/$raw/%m-%p.profraw
for row in plain usual plain+stats usual+stats; do
    $build/bin/codec_bench $row 20000
done
$build/bin/sim_proxy --gtest_brief=1 --gtest_filter='ProxyKeepAlive.*' --gtest_repeat=10
$build/bin/sim_proxy --gtest_brief=1 --gtest_filter='-*Chaos*'
llvm-profdata-19 merge -sparse -text $raw/*.profraw -o $build/all.proftext

# Ours only: one record is a paragraph.
{
    echo "# SPDX-License-Identifier: Apache-2.0"
    awk 'BEGIN { RS = ""; ORS = "\n\n" } NR == 1 || (/4weft/ && !/4weft3sim|4weft2l74test|7testing/)' $build/all.proftext
} >$text
echo "$text: $(grep -c '^# Func Hash' $text) functions"
