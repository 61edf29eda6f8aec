# CMake toolchain: GCC of this machine, for GEMMCONV_TRIPLE (of Debian's: x86_64-linux-gnu) and
# GEMMCONV_LIBC (glibc or musl), with headers and libraries from the folder GEMMCONV_SYSROOT, made by
# .ci/sysroot-glibc or .ci/sysroot-musl, and from nowhere else.
set(triple $ENV{GEMMCONV_TRIPLE})
set(sysroot $ENV{GEMMCONV_SYSROOT})

set(CMAKE_SYSTEM_NAME Linux)
string(REGEX REPLACE "-.*" "" CMAKE_SYSTEM_PROCESSOR ${triple})
set(CMAKE_CXX_COMPILER ${triple}-g++-12)
set(CMAKE_SYSROOT ${sysroot})

# A cross compiler of Debian's looks into its own folders first, not into the sysroot.
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=include
  OUTPUT_VARIABLE own OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
set(flags -nostdinc)
if("$ENV{GEMMCONV_LIBC}" STREQUAL musl)
  string(REPLACE gnu musl musl_triple ${triple})
  list(APPEND flags -mmusl)
  set(includes usr/include/c++/12.2.0 usr/include/c++/12.2.0/${musl_triple} usr/include/${musl_triple})
  set(libraries usr/lib usr/lib/${musl_triple})
else()
  set(includes usr/include/c++/10 usr/include/${triple}/c++/10)
  set(libraries usr/lib/${triple} lib/${triple})
endif()
list(APPEND includes usr/include/${triple} usr/include)
list(PREPEND libraries usr/lib/gcc/${triple}/10)
list(TRANSFORM includes PREPEND "-isystem ${sysroot}/")
list(TRANSFORM libraries PREPEND "-B${sysroot}/")
list(INSERT includes 2 "-isystem ${own}")
list(JOIN flags " " flags)
list(JOIN includes " " includes)
list(JOIN libraries " " link)
set(CMAKE_CXX_FLAGS_INIT "${flags} ${includes}")
string(APPEND link " -static-libstdc++ -static-libgcc") # there are no shared ones
set(CMAKE_MODULE_LINKER_FLAGS_INIT ${link})
set(CMAKE_EXE_LINKER_FLAGS_INIT ${link})

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
