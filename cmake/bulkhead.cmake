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
  target_link_options(bulkhead_flags INTERFACE -fsanitize=${BULKHEAD_SANITIZE})
  if(BULKHEAD_SANITIZE MATCHES "undefined")
    # vptr needs type information, which the core is built without.
    target_compile_options(bulkhead_flags INTERFACE -fno-sanitize=vptr)
    target_link_options(bulkhead_flags INTERFACE -fno-sanitize=vptr)
  endif()
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_definitions(bulkhead_flags INTERFACE _FORTIFY_SOURCE=2)
endif()

if(BULKHEAD_FUZZ)
  # Coverage in the libraries; the engine only in the targets.
  target_link_options(bulkhead_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# The trusted core neither throws nor asks for types at run time.
add_library(bulkhead_core_flags INTERFACE)
target_link_libraries(bulkhead_core_flags INTERFACE bulkhead_flags)
target_compile_options(bulkhead_core_flags INTERFACE -fno-exceptions -fno-rtti)

# Most of the time of a compilation goes into the standard library's headers. Only with sanitizers:
# the other builds show which includes are missing.
set(bulkhead_common_headers)
if(BULKHEAD_SANITIZE)
  set(bulkhead_common_headers <algorithm> <array> <atomic> <cstdint> <cstring> <functional> <memory>
    <mutex> <optional> <span> <string> <vector>)
endif()

# bulkhead_folder(<name> [USES <folder>...] [LIBS <library>...])
# One static library from the *.cc below the folder, and one test program from its *_test.cc.
function(bulkhead_folder name)
  cmake_parse_arguments(ARG "EXCEPTIONS" "" "USES;LIBS;EXCLUDE" ${ARGN})
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
    set(flags bulkhead_flags)
  else()
    set(flags bulkhead_core_flags)
  endif()

  if(sources)
    add_library(bulkhead_${name} STATIC ${sources})
    target_link_libraries(bulkhead_${name} PUBLIC ${uses} ${ARG_LIBS} PRIVATE ${flags})
    target_include_directories(bulkhead_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
    if(BULKHEAD_FUZZ)
      target_compile_options(bulkhead_${name} PRIVATE -fsanitize=fuzzer-no-link)
    endif()
    target_precompile_headers(bulkhead_${name} PRIVATE ${bulkhead_common_headers})
  else()
    add_library(bulkhead_${name} INTERFACE)
    target_link_libraries(bulkhead_${name} INTERFACE ${uses} ${ARG_LIBS})
  endif()

  if(BULKHEAD_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE bulkhead_${name} bulkhead_flags GTest::gtest_main)
    # Tests need no speed but of compilation. glibc fortifies optimised code only, and says so.
    target_compile_options(${name}_test PRIVATE -O0 -U_FORTIFY_SOURCE)
    target_precompile_headers(${name}_test PRIVATE <gtest/gtest.h> ${bulkhead_common_headers})
    add_test(NAME ${name} COMMAND ${name}_test)
    set_tests_properties(${name} PROPERTIES TIMEOUT 900)
  endif()
endfunction()
