# SPDX-License-Identifier: Apache-2.0
# Third-party libraries, one target each. setup.sh unpacks those that Debian 12 lacks under build/deps.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(GTest REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)

set(WEFT_DEPS_PREFIX ${CMAKE_SOURCE_DIR}/build/deps/usr)
set(multiarch ${CMAKE_LIBRARY_ARCHITECTURE})

function(weft_static_dependency target header library)
    add_library(${target} INTERFACE)
    find_path(${target}_include ${header} HINTS ${WEFT_DEPS_PREFIX}/include NO_CACHE REQUIRED)
    find_library(${target}_library NAMES lib${library}.a ${library}
        HINTS ${WEFT_DEPS_PREFIX}/lib/${multiarch} NO_CACHE REQUIRED)
    target_link_libraries(${target} INTERFACE ${${target}_library})
    if(${target}_include MATCHES "^${WEFT_DEPS_PREFIX}")
        # -isystem must come before the system's own folders, so that the newer linux/ headers are found.
        target_include_directories(${target} SYSTEM INTERFACE ${WEFT_DEPS_PREFIX}/include/${multiarch}
            ${WEFT_DEPS_PREFIX}/include)
    endif()
endfunction()

weft_static_dependency(weft_liburing liburing.h uring)
weft_static_dependency(weft_llhttp llhttp.h llhttp)
weft_static_dependency(weft_nghttp2 nghttp2/nghttp2.h nghttp2)

function(weft_pkg_dependency target)
    pkg_check_modules(${target}_pc REQUIRED ${ARGN})
    add_library(${target} INTERFACE)
    target_include_directories(${target} SYSTEM INTERFACE ${${target}_pc_INCLUDE_DIRS})
    target_compile_options(${target} INTERFACE ${${target}_pc_CFLAGS_OTHER})
    target_link_libraries(${target} INTERFACE ${${target}_pc_LINK_LIBRARIES})
endfunction()

weft_pkg_dependency(weft_libbpf libbpf)
weft_pkg_dependency(weft_seccomp libseccomp)
weft_pkg_dependency(weft_libcap libcap)
weft_pkg_dependency(weft_yaml yaml-cpp)
weft_pkg_dependency(weft_simdjson simdjson)
weft_pkg_dependency(weft_spdlog spdlog)
weft_pkg_dependency(weft_curl libcurl)

add_library(weft_prometheus INTERFACE)
target_link_libraries(weft_prometheus INTERFACE prometheus-cpp-core)
# prometheus-cpp's own HTTP server can only answer 200; readiness needs 503.
add_library(weft_civetweb INTERFACE)
find_library(weft_civetweb_library civetweb REQUIRED NO_CACHE)
target_link_libraries(weft_civetweb INTERFACE ${weft_civetweb_library})
add_library(weft_gtest INTERFACE)
target_link_libraries(weft_gtest INTERFACE GTest::gtest GTest::gmock GTest::gtest_main weft_options)
