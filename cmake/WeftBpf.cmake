# SPDX-License-Identifier: Apache-2.0
# BPF objects as ordinary targets: vmlinux.h -> *.bpf.o -> one linked object -> skeleton header.
find_program(BPFTOOL bpftool PATHS /usr/sbin /sbin REQUIRED)
find_program(BPF_CLANG NAMES clang-19 clang REQUIRED)
find_program(BPF_STRIP NAMES llvm-strip-19 llvm-strip REQUIRED)
set(WEFT_BPF_OUT ${CMAKE_BINARY_DIR}/bpf)
set(WEFT_VMLINUX ${WEFT_BPF_OUT}/vmlinux.h)
file(MAKE_DIRECTORY ${WEFT_BPF_OUT})

# weft_bpf_skeleton(TARGET NAME sources...): an interface target with <bpf/NAME.skel.h> on its include path.
# Call it once: a custom command's output is known to the targets of its own folder only, vmlinux.h included.
function(weft_bpf_skeleton target name)
    file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.h)
    # Fixed while the build folder lives: BTF of the running kernel, and fields are relocated at load anyway.
    add_custom_command(OUTPUT ${WEFT_VMLINUX}
        COMMAND ${BPFTOOL} btf dump file /sys/kernel/btf/vmlinux format c > ${WEFT_VMLINUX}.new
        COMMAND ${CMAKE_COMMAND} -E rename ${WEFT_VMLINUX}.new ${WEFT_VMLINUX}
        COMMENT "BPF vmlinux.h" VERBATIM)
    set(objects)
    foreach(source ${ARGN})
        get_filename_component(stem ${source} NAME_WE)
        set(object ${WEFT_BPF_OUT}/${stem}.bpf.o)
        add_custom_command(OUTPUT ${object}
            COMMAND ${BPF_CLANG} -target bpf -mcpu=v3 -g -O2 -std=gnu17 -Wall -Wextra -Werror -Wno-unused-parameter
                -I${CMAKE_SOURCE_DIR} -I${WEFT_BPF_OUT} -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
            COMMAND ${BPF_STRIP} -g ${object}
            DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source} ${headers} ${WEFT_VMLINUX}
            COMMENT "BPF ${source}" VERBATIM)
        list(APPEND objects ${object})
    endforeach()
    set(linked ${WEFT_BPF_OUT}/${name}.bpf.o)
    set(skeleton ${WEFT_BPF_OUT}/${name}.skel.h)
    add_custom_command(OUTPUT ${skeleton} ${linked}
        COMMAND ${BPFTOOL} gen object ${linked} ${objects}
        COMMAND ${BPFTOOL} gen skeleton ${linked} name ${name}_bpf > ${skeleton}.new
        COMMAND ${CMAKE_COMMAND} -E rename ${skeleton}.new ${skeleton}
        DEPENDS ${objects} COMMENT "BPF skeleton ${name}" VERBATIM)
    add_custom_target(${target}_build DEPENDS ${skeleton})
    add_library(${target} INTERFACE)
    add_dependencies(${target} ${target}_build)
    target_include_directories(${target} SYSTEM INTERFACE ${CMAKE_BINARY_DIR})
endfunction()
