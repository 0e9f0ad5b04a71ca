// swift-tools-version:6.2
import PackageDescription

// The floors of docs/architecture.md, lowest first: a target imports only lower ones.

// FUZZ=1 instruments everything for libFuzzer; see `make fuzz`. SANITIZE=1: a sanitizer's
// functions are in the program that loads the library; see `make sanitize`.
let isFuzzing = Context.environment["FUZZ"] != nil
let isSanitizing = Context.environment["SANITIZE"] != nil
// Undefined behaviour in C and C++ is a trap there. Weights lie at any address in files, and
// are read so on purpose.
let instruments =
    (isFuzzing ? ["-fsanitize=fuzzer-no-link"] : [])
    + (isFuzzing || isSanitizing
        ? [
            "-fsanitize=undefined", "-fno-sanitize=alignment,vptr,function",
            "-fsanitize-trap=undefined",
        ] : [])
let release =
    ["-O3", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno"] + instruments
let kernels: [CSetting] = [
    .unsafeFlags(release, .when(configuration: .release)),
    .unsafeFlags(["-O2", "-ffp-contract=off"], .when(configuration: .debug)),
]
let shim: [CSetting] = [.unsafeFlags(["-fvisibility=hidden"] + instruments)]
let cxxShim: [CXXSetting] = [
    .define("ONNX_ML", to: "1"), .define("ONNX_NAMESPACE", to: "onnx"),
    .unsafeFlags(["-fvisibility=hidden", "-fvisibility-inlines-hidden"] + instruments),
]
let swift: [SwiftSetting] =
    [.swiftLanguageMode(.v6)] + (isFuzzing ? [.unsafeFlags(["-sanitize=fuzzer"])] : [])

// On the leaf target alone: anywhere else they would leak into the test bundle, which
// does not link against the static runtime.
let sharedObject: [LinkerSetting] = [
    .unsafeFlags([
        "-static-stdlib", "-use-ld=lld",
        "-Xlinker", "--version-script=\(Context.packageDirectory)/Sources/UnsayLibrary/exports.map",
        "-Xlinker", "-soname=libunsay.so.1",
        // Allocations end up in UnsayLibrary/allocation.cc.
        "-Xlinker", "--wrap=malloc", "-Xlinker", "--wrap=calloc", "-Xlinker", "--wrap=realloc",
        "-Xlinker", "--wrap=posix_memalign", "-Xlinker", "--wrap=_Znwm",
        "-Xlinker", "-z", "-Xlinker", isSanitizing ? "undefs" : "defs",
        // The pool's workers live as long as the process: never unmap their code.
        "-Xlinker", "-z", "-Xlinker", "nodelete",
        "-Xlinker", "--build-id", "-Xlinker", "--gc-sections",
    ])
]

let fuzzer = Target.executableTarget(
    name: "fuzz", dependencies: ["FuzzTargets"], path: "Tests/Fuzz/Runner", swiftSettings: swift,
    linkerSettings: [
        .unsafeFlags([Context.environment["FUZZ_RUNTIME"] ?? "", "-lstdc++"])
    ])

let package = Package(
    name: "Unsay",
    products: [
        .library(name: "unsay", type: .dynamic, targets: ["UnsayLibrary"]),
        .library(name: "Unsay", targets: ["Unsay"]),
    ],
    targets: [
        // The public header. A target of its own, because a systemLibrary would not notice edits.
        .target(
            name: "CUnsay", path: ".",
            exclude: ["Tests", "bindings", "examples", "docs", "Benchmarks"],
            sources: ["Sources/CUnsay"], publicHeadersPath: "include"),

        // 0: C and C++.
        .target(
            name: "CSupport", cSettings: shim,
            linkerSettings: [
                .linkedLibrary("cjson"), .linkedLibrary("nettle"), .linkedLibrary("zstd"),
            ]),
        .target(name: "CKernels", cSettings: kernels),
        .target(
            name: "COnnx", cxxSettings: cxxShim,
            linkerSettings: [.linkedLibrary("onnx_proto"), .linkedLibrary("protobuf")]),
        .target(name: "Support", dependencies: ["CUnsay", "CSupport"], swiftSettings: swift),

        // 1
        .target(
            name: "Tensors", dependencies: ["CKernels", "Support", "CUnsay"], swiftSettings: swift),
        .target(
            name: "Tokenizers", dependencies: ["CSupport", "Support", "CUnsay"],
            swiftSettings: swift),

        // 2
        .target(name: "T5", dependencies: ["Tensors", "Support", "CUnsay"], swiftSettings: swift),

        // 3
        .target(
            name: "Models",
            dependencies: ["T5", "Tokenizers", "Tensors", "COnnx", "Support", "CUnsay"],
            swiftSettings: swift),
        .target(
            name: "Training", dependencies: ["T5", "Tensors", "CKernels", "Support", "CUnsay"],
            swiftSettings: swift),

        // 4
        .target(
            name: "Decoding",
            dependencies: ["Models", "T5", "Tokenizers", "Tensors", "Support", "CUnsay"],
            swiftSettings: swift),
        .target(
            name: "Classifying",
            dependencies: ["Models", "T5", "Tokenizers", "Tensors", "Support", "CUnsay"],
            swiftSettings: swift),

        // 5
        .target(
            name: "Patching",
            dependencies: [
                "Decoding", "Training", "Models", "T5", "Tokenizers", "Tensors", "CSupport",
                "Support", "CUnsay",
            ],
            swiftSettings: swift),

        // 6
        .target(
            name: "UnsayABI",
            dependencies: [
                "Patching", "Classifying", "Decoding", "Training", "Models", "T5", "Tokenizers",
                "Tensors", "CSupport", "Support", "CUnsay",
            ],
            swiftSettings: swift),
        // What Swift programs import.
        .target(
            name: "Unsay",
            dependencies: [
                "Patching", "Classifying", "Decoding", "Training", "Models", "T5", "Tokenizers",
                "Tensors", "Support", "CUnsay",
            ],
            swiftSettings: swift),

        // 7
        .target(
            name: "UnsayLibrary", dependencies: ["UnsayABI", "CSupport"], exclude: ["exports.map"],
            cxxSettings: [.unsafeFlags(["-fvisibility=hidden"])], linkerSettings: sharedObject),

        // Tests: one target per target tested.
        .testTarget(
            name: "SupportTests", dependencies: ["Support", "CSupport", "CUnsay"],
            swiftSettings: swift),
        // The kernels' AVX-512 geometry for processors without AVX-512: linked by tests alone.
        .target(
            name: "CKernelsSplit", dependencies: ["CKernels"], path: "Tests/CKernelsSplit",
            cSettings: [.headerSearchPath("../../Sources/CKernels")] + kernels),
        .testTarget(
            name: "KernelsTests",
            dependencies: ["Tensors", "CKernels", "CKernelsSplit", "Support", "CUnsay"],
            swiftSettings: swift),
        .testTarget(
            name: "TokenizersTests", dependencies: ["Tokenizers", "Support", "CUnsay"],
            exclude: ["tokens.json"], swiftSettings: swift),
        .testTarget(name: "T5Tests", dependencies: ["T5", "Tensors"], swiftSettings: swift),
        .testTarget(
            name: "ModelsTests", dependencies: ["Models", "T5", "COnnx", "Support", "CUnsay"],
            swiftSettings: swift),
        .testTarget(
            name: "TrainingTests", dependencies: ["Training", "Tensors", "CUnsay"],
            swiftSettings: swift),
        .testTarget(
            name: "DecodingTests",
            dependencies: ["Decoding", "Models", "T5", "Tensors", "Support", "CUnsay"],
            swiftSettings: swift),
        .testTarget(
            name: "ClassifyingTests",
            dependencies: [
                "Classifying", "Models", "T5", "Tokenizers", "Tensors", "Support", "CUnsay",
            ],
            swiftSettings: swift),
        // What libFuzzer runs, and the inputs that once broke it run again.
        .target(
            name: "FuzzTargets",
            dependencies: [
                "Patching", "Classifying", "Decoding", "Training", "Models", "T5", "Tokenizers",
                "Tensors", "Support", "CUnsay",
            ],
            path: "Tests/Fuzz/Targets", swiftSettings: swift),
        .testTarget(name: "FuzzTests", dependencies: ["FuzzTargets"], swiftSettings: swift),
        .testTarget(
            name: "PatchingTests",
            dependencies: [
                "Patching", "Decoding", "Training", "Models", "T5", "Tokenizers", "Tensors",
                "Support", "CUnsay",
            ],
            swiftSettings: swift),
        .testTarget(name: "UnsayTests", dependencies: ["Unsay"], swiftSettings: swift),
        .testTarget(
            name: "PinTests", dependencies: ["Unsay", "Support", "CKernels"],
            exclude: ["pins.json"], swiftSettings: swift),
    ] + (isFuzzing ? [fuzzer] : []),
    cLanguageStandard: .c11,
    cxxLanguageStandard: .cxx17)
