// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The agent works in bursts, and rests in between with what the C library's heap has kept of the last one: in a large
/// cluster more than all objects. Its threads hardly ever allocate at one time.
namespace weft::agent {

/// One heap for all threads, and large blocks apart from it. Before the first thread.
void keep_heap_small();
/// What is free goes back to the kernel: some milliseconds. Any thread.
void give_back_heap();

} // namespace weft::agent
