# Read by CMake right after llama-cpp-python's project() line (see the Makefile). That project forces
# llama.cpp's "common" library on in the cache; a normal variable of the same name wins over the cache
# (policy CMP0126), so the chat parsers, HTTP client and templates that llterm never calls stay unbuilt.
set(LLAMA_BUILD_COMMON OFF)
