import CUnsay
import Glibc
import Support

/// What is fed to one part of the library: any bytes at all. A target must take them without
/// a trap, a leak, a wild read, or memory out of all proportion; whether it accepts or refuses
/// them does not matter.
package enum FuzzTarget: String, CaseIterable, Sendable {
    /// A folder of .onnx files and config.json, as `Folder` packs it.
    case folder
    /// A spiece.model.
    case spiece
    /// A tokenizer.json.
    case tokenizer
    /// config.json, generation_config.json and tokenizer_config.json, a NUL between each two.
    case config
    /// A delta without its checksum, which is added: else no changed byte would be looked at.
    case delta
    /// A saved session, likewise.
    case session
    /// A classifier, likewise.
    case classifier

    package func run(_ bytes: UnsafeRawBufferPointer) {
        do {
            switch self {
            case .folder: try Self.open(folder: bytes)
            case .spiece: try Self.tokenize(spiece: bytes)
            case .tokenizer: try Self.tokenize(json: bytes)
            case .config: try Self.open(configuration: bytes)
            case .delta: try Self.apply(delta: bytes)
            case .session: try Self.resume(session: bytes)
            case .classifier: try Self.classify(with: bytes)
            }
        } catch let failure as Failure {
            // Every refusal is a sentence.
            if failure.sentence.isEmpty { abort() }
        } catch {
            abort()
        }
    }
}
