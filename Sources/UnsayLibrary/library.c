/* Carries the linker flags of libunsay.so and nothing else: see Package.swift. */
#include "unsay_library.h"
