# CMake toolchain: GCC of this machine, for GEMMCONV_TRIPLE, with headers and libraries from the
# Debian 11 sysroot in GEMMCONV_SYSROOT, and from nowhere else.
set(triple $ENV{GEMMCONV_TRIPLE})
set(sysroot $ENV{GEMMCONV_SYSROOT})

set(CMAKE_SYSTEM_NAME Linux)
string(REGEX REPLACE "-.*" "" CMAKE_SYSTEM_PROCESSOR ${triple})
set(CMAKE_CXX_COMPILER ${triple}-g++-12)
set(CMAKE_SYSROOT ${sysroot})

# A cross compiler of Debian's looks into its own folders first, not into the sysroot.
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=include
  OUTPUT_VARIABLE own OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
set(includes ${sysroot}/usr/include/c++/10 ${sysroot}/usr/include/${triple}/c++/10 ${own}
  ${sysroot}/usr/include/${triple} ${sysroot}/usr/include)
set(libraries ${sysroot}/usr/lib/gcc/${triple}/10 ${sysroot}/usr/lib/${triple}
  ${sysroot}/lib/${triple})
list(TRANSFORM includes PREPEND "-isystem ")
list(TRANSFORM libraries PREPEND "-B")
list(JOIN includes " " CMAKE_CXX_FLAGS_INIT)
string(PREPEND CMAKE_CXX_FLAGS_INIT "-nostdinc ")
list(JOIN libraries " " link)
string(APPEND link " -static-libstdc++ -static-libgcc") # there are no shared ones
set(CMAKE_MODULE_LINKER_FLAGS_INIT ${link})
set(CMAKE_EXE_LINKER_FLAGS_INIT ${link})

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
