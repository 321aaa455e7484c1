# SPDX-License-Identifier: Apache-2.0
# Flags and the helpers that every folder of src/ is built with.

add_library(bulkhead_flags INTERFACE)
target_include_directories(bulkhead_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(bulkhead_flags INTERFACE
  -Werror -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast
  -fstack-protector-strong -fno-strict-aliasing)
target_compile_definitions(bulkhead_flags INTERFACE _GNU_SOURCE)
target_link_options(bulkhead_flags INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(bulkhead_flags INTERFACE -Wthread-safety)
endif()
if(BULKHEAD_SANITIZE)
  target_compile_options(bulkhead_flags INTERFACE
    -fsanitize=${BULKHEAD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  # A sanitizer's programs are large: the usual linker takes several times as long.
  target_link_options(bulkhead_flags INTERFACE -fsanitize=${BULKHEAD_SANITIZE} -fuse-ld=lld)
  if(BULKHEAD_SANITIZE MATCHES "undefined")
    # vptr needs type information, which the core is built without.
    target_compile_options(bulkhead_flags INTERFACE -fno-sanitize=vptr)
    target_link_options(bulkhead_flags INTERFACE -fno-sanitize=vptr)
  endif()
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_definitions(bulkhead_flags INTERFACE _FORTIFY_SOURCE=2)
endif()

# Coverage in the libraries; the engine only in the targets.
add_library(bulkhead_coverage INTERFACE)
if(BULKHEAD_FUZZ)
  target_compile_options(bulkhead_coverage INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(bulkhead_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# The trusted core neither throws nor asks for types at run time.
add_library(bulkhead_core_flags INTERFACE)
target_link_libraries(bulkhead_core_flags INTERFACE bulkhead_flags)
target_compile_options(bulkhead_core_flags INTERFACE -fno-exceptions -fno-rtti)

# What may throw uses libraries that consist of headers, and is no hot path: with sanitizers most of
# the time of its compilation would go into optimising them.
add_library(bulkhead_exception_flags INTERFACE)
target_link_libraries(bulkhead_exception_flags INTERFACE bulkhead_flags)
if(BULKHEAD_SANITIZE)
  target_compile_options(bulkhead_exception_flags INTERFACE -O0)
endif()

# bulkhead_unsanitized(<target>)
# The core's flags but for sanitizers: for a program that is confined so far that they cannot run.
function(bulkhead_unsanitized target)
  foreach(flags bulkhead_flags bulkhead_core_flags)
    get_target_property(options ${flags} INTERFACE_COMPILE_OPTIONS)
    list(FILTER options EXCLUDE REGEX "sanitize")
    target_compile_options(${target} PRIVATE ${options})
  endforeach()
  target_compile_definitions(${target} PRIVATE
    $<TARGET_PROPERTY:bulkhead_flags,INTERFACE_COMPILE_DEFINITIONS>)
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/src)
endfunction()

# bulkhead_program(<target>)
# Where all programs are. A release's have no debug information in them, which a partition with a TPM
# would have to measure and a guest to load: it lies where gdb looks for it, in .debug/ beside them.
function(bulkhead_program target)
  set(bin ${CMAKE_BINARY_DIR}/bin)
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${bin})
  if(BULKHEAD_SANITIZE OR NOT CMAKE_BUILD_TYPE STREQUAL "Release")
    return()
  endif()
  set(debug ${bin}/.debug/${target}.debug)
  add_custom_command(TARGET ${target} POST_BUILD VERBATIM
    COMMAND ${CMAKE_COMMAND} -E make_directory ${bin}/.debug
    COMMAND ${CMAKE_OBJCOPY} --only-keep-debug $<TARGET_FILE:${target}> ${debug}
    COMMAND ${CMAKE_OBJCOPY} --strip-all --add-gnu-debuglink=${debug} $<TARGET_FILE:${target}>)
endfunction()

# bulkhead_headers(<name> <headers> <flags and libraries>...)
# Headers that are compiled once for all that is built with the same flags.
function(bulkhead_headers name headers)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/${name}.cc CONTENT "")
  add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/${name}.cc)
  target_link_libraries(${name} PRIVATE ${ARGN})
  target_precompile_headers(${name} PRIVATE ${headers})
endfunction()

# Most of the time of a compilation goes into the standard library's headers. Only with sanitizers:
# the other builds show which includes are missing.
set(bulkhead_common_headers)
if(BULKHEAD_SANITIZE)
  set(bulkhead_common_headers <algorithm> <array> <atomic> <chrono> <cstdint> <cstring> <filesystem>
    <fstream> <functional> <map> <memory> <mutex> <optional> <span> <sstream> <string> <thread>
    <vector>)
  bulkhead_headers(bulkhead_core_headers "${bulkhead_common_headers}"
    bulkhead_core_flags bulkhead_coverage)
  bulkhead_headers(bulkhead_headers "${bulkhead_common_headers}"
    bulkhead_exception_flags bulkhead_coverage)
endif()

# bulkhead_throwing(<target>): a library of what may throw, in a folder that otherwise may not.
function(bulkhead_throwing target)
  target_link_libraries(${target} PRIVATE bulkhead_exception_flags bulkhead_coverage)
  if(TARGET bulkhead_headers)
    target_precompile_headers(${target} REUSE_FROM bulkhead_headers)
  endif()
endfunction()

if(BULKHEAD_TESTS)
  find_package(GTest REQUIRED)
  # Tests need no speed but of compilation. glibc fortifies optimised code only, and says so.
  add_library(bulkhead_test_flags INTERFACE)
  target_link_libraries(bulkhead_test_flags INTERFACE bulkhead_flags GTest::gtest_main)
  target_compile_options(bulkhead_test_flags INTERFACE -O0 -U_FORTIFY_SOURCE -fPIE)
  set(bulkhead_test_headers <gtest/gtest.h> ${bulkhead_common_headers})
  bulkhead_headers(bulkhead_test_headers "${bulkhead_test_headers}" bulkhead_test_flags)
endif()

# bulkhead_folder(<name> [EXCEPTIONS] [FAST_TESTS] [USES <folder>...] [LIBS <library>...])
# One static library from the *.cc below the folder, and one test program from its *_test.cc, which
# is optimised with FAST_TESTS.
function(bulkhead_folder name)
  cmake_parse_arguments(ARG "EXCEPTIONS;FAST_TESTS" "" "USES;LIBS;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$|/main\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  foreach(pattern ${ARG_EXCLUDE})
    list(FILTER sources EXCLUDE REGEX ${pattern})
  endforeach()
  set(uses ${ARG_USES})
  list(TRANSFORM uses PREPEND bulkhead_)
  if(ARG_EXCEPTIONS)
    set(flags bulkhead_exception_flags)
    set(headers bulkhead_headers)
  else()
    set(flags bulkhead_core_flags)
    set(headers bulkhead_core_headers)
  endif()

  if(sources)
    add_library(bulkhead_${name} STATIC ${sources})
    target_link_libraries(bulkhead_${name} PUBLIC ${uses} ${ARG_LIBS}
      PRIVATE ${flags} bulkhead_coverage)
    target_include_directories(bulkhead_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
    if(TARGET ${headers})
      target_precompile_headers(bulkhead_${name} REUSE_FROM ${headers})
    endif()
  else()
    add_library(bulkhead_${name} INTERFACE)
    target_link_libraries(bulkhead_${name} INTERFACE ${uses} ${ARG_LIBS})
  endif()

  if(BULKHEAD_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE bulkhead_${name})
    if(ARG_FAST_TESTS)
      target_link_libraries(${name}_test PRIVATE bulkhead_flags GTest::gtest_main)
      target_compile_options(${name}_test PRIVATE -O1)
      target_precompile_headers(${name}_test PRIVATE ${bulkhead_test_headers})
    else()
      target_link_libraries(${name}_test PRIVATE bulkhead_test_flags)
      target_precompile_headers(${name}_test REUSE_FROM bulkhead_test_headers)
    endif()
    add_test(NAME ${name} COMMAND ${name}_test)
    set_tests_properties(${name} PROPERTIES TIMEOUT 900)
  endif()
endfunction()
