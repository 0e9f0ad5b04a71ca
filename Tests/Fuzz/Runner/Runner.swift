import FuzzTargets
import Glibc

/// libFuzzer's main loop, in the toolchain's libclang_rt.fuzzer_no_main.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

nonisolated(unsafe) private var target = FuzzTarget.folder

/// `fuzz TARGET [options and corpora of libFuzzer]`.
@main struct Runner {
    static func main() {
        guard CommandLine.argc > 1, let name = CommandLine.arguments.dropFirst().first,
            let chosen = FuzzTarget(rawValue: name)
        else {
            let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: "|")
            print("usage: fuzz \(names) [libFuzzer's options and corpora]")
            exit(2)
        }
        target = chosen
        var count = CommandLine.argc - 1
        var arguments = CommandLine.unsafeArgv + 1
        arguments[0] = CommandLine.unsafeArgv[0]
        exit(
            withUnsafeMutablePointer(to: &arguments) { arguments in
                arguments.withMemoryRebound(
                    to: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.self, capacity: 1
                ) {
                    runDriver(&count, $0) { bytes, count in
                        target.run(UnsafeRawBufferPointer(start: bytes, count: count))
                        return 0
                    }
                }
            })
    }
}
