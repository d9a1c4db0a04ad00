# SPDX-License-Identifier: Apache-2.0
# weft_library(NAME FOLDER deps...): a static library of every .cpp in FOLDER (not its subfolders).
# The link line is the layer: tests/tidy checks that includes follow it.
function(weft_library name)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
    list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
    file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.hpp)
    if(sources)
        add_library(${name} STATIC ${sources})
        target_link_libraries(${name} PUBLIC weft_options ${ARGN})
    else()
        add_library(${name} INTERFACE)
        target_link_libraries(${name} INTERFACE weft_options ${ARGN})
    endif()
endfunction()

# weft_program(NAME deps...): main.cpp of the current folder.
function(weft_program name source)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${source})
        add_executable(${name} ${source})
        target_link_libraries(${name} PRIVATE ${ARGN})
    endif()
endfunction()

# weft_test(NAME FOLDER LABEL deps...): one GoogleTest program of every .cpp in FOLDER, run by ctest under LABEL.
function(weft_test name folder label)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cpp)
    if(NOT sources)
        return()
    endif()
    add_executable(${name} ${sources})
    target_link_libraries(${name} PRIVATE ${ARGN} weft_gtest)
    add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 600)
endfunction()
