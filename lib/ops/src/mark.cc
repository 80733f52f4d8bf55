// `lib.ops.build` looks for this mark in a library file, and skips the build if the sources are unchanged.
extern "C" const char fgfa_build_mark[] = "fgfa-build:" FGFA_BUILD_MARK ";";
