import CUnsay
import Support

/// Chooses among the .onnx files of a folder, which often holds one model several times: as
/// parts that overlap, and in several precisions.
///
/// The rule: all parts of one variant are opened, that of the best precision which has an
/// encoder and a decoder. Only if no variant has both, each of the two comes from the best
/// variant that has it.
struct FileChoice {
    private struct Candidate {
        let name: String
        let variant: String
        let hasEncoder: Bool
        let hasDecoder: Bool
    }

    private struct Part {
        let stem: String
        let hasEncoder: Bool
        let hasDecoder: Bool
    }

    /// The candidates of one naming scheme.
    private let candidates: [Candidate]

    /// Optimum's names, which transformers.js shares, in the order of messages.
    private static let parts = [
        Part(stem: "encoder_model", hasEncoder: true, hasDecoder: false),
        Part(stem: "decoder_model_merged", hasEncoder: false, hasDecoder: true),
        Part(stem: "decoder_model", hasEncoder: false, hasDecoder: true),
        Part(stem: "decoder_with_past_model", hasEncoder: false, hasDecoder: false),
    ]

    /// The endings that exporters, quantisers and public repositories use, the most precise
    /// first. Those of one row are alike.
    private static let variants: [[String]] = [
        ["", "fp32", "float32", "optimized", "O1", "O2", "O3", "O4"],
        ["fp16", "float16"], ["bf16", "bfloat16"],
        ["quantized", "int8", "uint8", "q8"], ["q8f16"],
        ["q4", "int4", "uint4"], ["q4f16"], ["bnb4"], ["q2"], ["q2f16"], ["q1"], ["q1f16"],
    ]

    private static func rank(_ variant: String) -> Int {
        variants.firstIndex { $0.contains(variant) } ?? variants.count
    }

    /// - Parameter names: of all files in one folder.
    init(_ names: [String]) {
        let models = names.filter { $0.hasSuffix(".onnx") }.sorted()
        let parts = models.compactMap(Self.part)
        let whole = models.compactMap(Self.whole)
        candidates = !parts.isEmpty ? parts : !whole.isEmpty ? whole : models.map(Self.other)
    }

    /// A part under Optimum's name; whatever follows is the variant.
    private static func part(_ name: String) -> Candidate? {
        let stem = String(name.dropLast(5))
        for part in parts where stem == part.stem || stem.hasPrefix(part.stem + "_") {
            return Candidate(
                name: name, variant: String(stem.dropFirst(part.stem.count + 1)),
                hasEncoder: part.hasEncoder, hasDecoder: part.hasDecoder)
        }
        return nil
    }

    /// model.onnx, in any variant known.
    private static func whole(_ name: String) -> Candidate? {
        let (stem, variant) = split(name)
        guard stem == "model" else { return nil }
        return Candidate(name: name, variant: variant, hasEncoder: true, hasDecoder: true)
    }

    /// Any other name: t5_encoder_fp16.onnx, t5-small-init-decoder-quantized.onnx and so on.
    private static func other(_ name: String) -> Candidate {
        let (stem, variant) = split(name)
        let words = stem.lowercased().split { $0 == "_" || $0 == "-" || $0 == "." }
        let isEncoder = words.contains("encoder")
        let isDecoder = words.contains("decoder")
        return Candidate(
            name: name, variant: variant, hasEncoder: isEncoder || !isDecoder,
            hasDecoder: isDecoder || !isEncoder)
    }

    /// A name without ".onnx", and the known variant that it ends in.
    private static func split(_ name: String) -> (stem: String, variant: String) {
        let stem = String(name.dropLast(5))
        for variant in variants.joined() where !variant.isEmpty {
            for separator in ["_", "-", "."] where stem.hasSuffix(separator + variant) {
                return (String(stem.dropLast(variant.count + 1)), variant)
            }
        }
        return (stem, "")
    }

    // MARK: The choice

    /// The files to open; empty if there are none.
    ///
    /// - Parameter variant: the ending to take, "" for files without one; nil: by the rule.
    ///   What it lacks, an encoder or a decoder, comes from the best other one.
    /// - Parameter place: the folder, for messages.
    /// - Throws: `UNSAY_E_NOT_FOUND`, naming the variants there are.
    func names(variant: String?, in place: String) throws -> [String] {
        guard !candidates.isEmpty else { return [] }
        let known = Set(candidates.map(\.variant)).sorted {
            (Self.rank($0), $0) < (Self.rank($1), $1)
        }
        if let variant, !known.contains(variant) {
            let list = known.map { "\"\($0)\"" }.joined(separator: ", ")
            throw Failure(
                UNSAY_E_NOT_FOUND,
                "\(place) holds no variant \"\(variant)\" of a model: it has \(list)")
        }
        let order = [variant].compactMap { $0 } + known.filter { $0 != variant }
        func has(_ variant: String, _ part: KeyPath<Candidate, Bool>) -> Bool {
            candidates.contains { $0.variant == variant && $0[keyPath: part] }
        }
        let complete = order.first { has($0, \.hasEncoder) && has($0, \.hasDecoder) }
        let encoder = order.first { has($0, \.hasEncoder) }
        let decoder = order.first { has($0, \.hasDecoder) }
        let isMixed = variant.map { $0 != complete } ?? (complete == nil)
        return candidates.filter { candidate in
            if !isMixed { return candidate.variant == complete }
            return candidate.hasEncoder
                ? candidate.variant == encoder : candidate.variant == (decoder ?? encoder)
        }.map(\.name)
    }
}
