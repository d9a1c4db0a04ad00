# SPDX-License-Identifier: Apache-2.0
# Release builds are optimised by a profile of the engine (docs/performance.md). It is text, so that it can be compared
# and does not depend on the machine; `make profile` writes it. A function that has changed since is compiled as if there
# were none.
set(WEFT_PROFILE "use" CACHE STRING "use | make (a build that measures) | none")
set(WEFT_PROFILE_TEXT ${CMAKE_SOURCE_DIR}/l7engine/profile.proftext)

if(NOT CMAKE_BUILD_TYPE STREQUAL "Release" OR WEFT_PROFILE STREQUAL "none")
    return()
endif()
# Functions of one file are named by it without its folder: the tree may lie anywhere.
set(names "SHELL:-mllvm -static-func-full-module-prefix=false")
if(WEFT_PROFILE STREQUAL "make")
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fprofile-generate> "$<$<COMPILE_LANGUAGE:CXX>:${names}>")
    add_link_options(-fprofile-generate)
    return()
endif()
find_program(WEFT_PROFDATA llvm-profdata-19 REQUIRED)
# Named by what it says: objects of two profiles cannot be linked together, so another one has to compile everything anew.
file(SHA256 ${WEFT_PROFILE_TEXT} profile_hash)
string(SUBSTRING ${profile_hash} 0 16 profile_hash)
set(profile ${CMAKE_BINARY_DIR}/profile-${profile_hash}.profdata)
execute_process(COMMAND ${WEFT_PROFDATA} merge ${WEFT_PROFILE_TEXT} -o ${profile} COMMAND_ERROR_IS_FATAL ANY)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${WEFT_PROFILE_TEXT})
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fprofile-use=${profile}>
    "$<$<COMPILE_LANGUAGE:CXX>:${names}>"
    $<$<COMPILE_LANGUAGE:CXX>:-Wno-profile-instr-out-of-date>
    $<$<COMPILE_LANGUAGE:CXX>:-Wno-profile-instr-unprofiled>
    $<$<COMPILE_LANGUAGE:CXX>:-Wno-backend-plugin>)
