import CUnsay
import Support
import T5

/// Makes a T5Configuration of config.json, and of shapes and graph where it is silent.
struct ConfigurationReader {
    let config: JSON?
    let generation: JSON?
    let findings: Findings

    /// Layers, and the width of anything: far above every T5, far below any overflow.
    private static let mostLayers = 1024
    private static let widest = 1 << 20

    func read() throws -> T5Configuration {
        var c = T5Configuration()
        let facts = findings.facts
        c.vocabSize = try size("vocab_size", found: dim("shared", 0), upTo: 1 << 24)
        c.dModel = try size("d_model", found: dim("shared", 1))
        c.numLayers = try size("num_layers", found: layers("encoder"), upTo: Self.mostLayers)
        let decoderLayers = layers("decoder")
        c.numDecoderLayers =
            decoderLayers == 0
            ? 0
            : try size(
                "num_decoder_layers", found: config?["num_layers"]?.int ?? decoderLayers,
                upTo: Self.mostLayers)
        let inner = dim("encoder.block.0.layer.0.SelfAttention.q", 0)
        let table = shape("encoder.block.0.layer.0.SelfAttention.relative_attention_bias")
        c.numHeads = try size("num_heads", found: facts.numHeads ?? table?.last)
        c.dKV = try size("d_kv", found: inner.map { $0 / max(c.numHeads, 1) })
        guard c.innerDim <= Self.widest else {
            throw Failure(UNSAY_E_FORMAT, "num_heads * d_kv is \(c.innerDim), over \(Self.widest)")
        }
        let feedForward = "encoder.block.0.layer.1.DenseReluDense"
        let isGated = shape("\(feedForward).wi_0") != nil
        c.dFF = try size(
            "d_ff", found: dim(isGated ? "\(feedForward).wi_0" : "\(feedForward).wi", 0))
        c.relativeAttentionNumBuckets = try size(
            "relative_attention_num_buckets", found: table?.first)
        c.relativeAttentionMaxDistance = try size(
            "relative_attention_max_distance", found: facts.maxDistance ?? 128, upTo: 1 << 24)
        c.layerNormEpsilon = epsilon()
        let projection = config?["feed_forward_proj"]?.string
        c.isGated = config?["is_gated_act"]?.bool ?? projection?.hasPrefix("gated-") ?? isGated
        c.activation = try activation(projection)
        c.hasBiasPerLayer =
            shape("encoder.block.1.layer.0.SelfAttention.relative_attention_bias") != nil
            || shape("decoder.block.1.layer.0.SelfAttention.relative_attention_bias") != nil
        c.tiesHead = shape("lm_head") == nil && config?["tie_word_embeddings"]?.bool != false
        c.headScale = headScale(c)
        try readTokens(into: &c)
        try check(c)
        return c
    }

    /// What no shape confirms, but the network divides by or takes logarithms of.
    private func check(_ c: T5Configuration) throws {
        let (buckets, distance) = (c.relativeAttentionNumBuckets, c.relativeAttentionMaxDistance)
        guard buckets >= 4, distance > buckets / 2 else {
            throw Failure(
                UNSAY_E_FORMAT,
                "relative_attention_max_distance is \(distance) for \(buckets) buckets, expected "
                    + "4 buckets at least and a distance over half their number")
        }
        guard c.layerNormEpsilon.isFinite, c.layerNormEpsilon >= 0 else {
            throw Failure(UNSAY_E_FORMAT, "layer_norm_epsilon is \(c.layerNormEpsilon)")
        }
        guard c.headScale.isFinite, c.headScale != 0 else {
            throw Failure(UNSAY_E_FORMAT, "the decoder's output is multiplied by \(c.headScale)")
        }
    }

    private func shape(_ name: String) -> [Int]? {
        findings.sites[name]?.first?.constant.shape
    }

    private func dim(_ name: String, _ axis: Int) -> Int? {
        shape(name).flatMap { $0.indices.contains(axis) ? $0[axis] : nil }
    }

    /// One more than the highest block that the files hold of a stack.
    private func layers(_ stack: String) -> Int {
        let prefix = "\(stack).block."
        let blocks = findings.names.lazy.filter { $0.hasPrefix(prefix) }.compactMap {
            Int($0.dropFirst(prefix.count).prefix { $0 != "." })
        }
        return min((blocks.max() ?? -1), Self.mostLayers) + 1
    }

    private func size(_ key: String, found: Int?, upTo limit: Int = widest) throws -> Int {
        if let stated = config?[key], stated != .null {
            guard let value = stated.int, value >= 1, value <= limit else {
                throw Failure(
                    UNSAY_E_FORMAT, "config.json: \(key) should be a number from 1 to \(limit)")
            }
            return value
        }
        guard let found else {
            throw Failure(
                UNSAY_E_FORMAT,
                "\(key) is neither in config.json nor to be seen in the files: "
                    + (findings.names.isEmpty ? "they hold no weights of T5" : "add a config.json"))
        }
        guard found >= 1, found <= limit else {
            throw Failure(UNSAY_E_FORMAT, "\(key) is \(found) by the files, expected 1 to \(limit)")
        }
        return found
    }

    /// config.json's unless the graph plainly computes with another; float16 files round it.
    private func epsilon() -> Float {
        let stated = config?["layer_norm_epsilon"]?.double.map { Float($0) }
        guard let seen = findings.facts.epsilon else { return stated ?? 1e-6 }
        return [stated, 1e-6, 1e-5].compactMap { $0 }.first { abs($0 - seen) <= 0.05 * seen }
            ?? seen
    }

    private func activation(_ projection: String?) throws -> T5Configuration.Activation {
        // transformers reads "gated-gelu" as the tanh approximation, "gelu_new".
        let written =
            projection == "gated-gelu"
            ? "gelu_new"
            : projection.map { $0.hasPrefix("gated-") ? String($0.dropFirst(6)) : $0 }
        let stated = config?["dense_act_fn"]?.string ?? written
        let name = findings.facts.activation ?? stated ?? "relu"
        let known = ["gelu_pytorch_tanh": "gelu_new", "swish": "silu"][name] ?? name
        guard let activation = T5Configuration.Activation(rawValue: known) else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "the activation \"\(name)\" is not supported: expected relu, gelu_new, gelu or silu"
            )
        }
        return activation
    }

    /// The graph's own factor, freed of its file's rounding.
    private func headScale(_ c: T5Configuration) -> Float {
        let tied = Float(1 / Double(c.dModel).squareRoot())
        guard let seen = findings.facts.headScale else {
            let isScaled = config?["scale_decoder_outputs"]?.bool ?? c.tiesHead
            return isScaled ? tied : 1
        }
        return [tied, 1].first { abs($0 - seen) <= 0.005 * $0 } ?? seen
    }

    private func readTokens(into c: inout T5Configuration) throws {
        let ids = 0..<c.vocabSize
        let facts = findings.facts
        /// The first id that one of the members, or the graph, names.
        func id(
            _ members: [(source: GenerationConfiguration, name: String)], _ seen: Int?
        ) throws -> Int32? {
            for (source, name) in members {
                let stated = try source.ids(name)
                guard let value = stated.first else { continue }
                guard stated.count == 1, ids.contains(value) else {
                    throw Failure(
                        UNSAY_E_FORMAT,
                        "\(source.file ?? name): \(name) is \(value), expected one id from 0 to "
                            + "\(c.vocabSize - 1)")
                }
                return Int32(value)
            }
            return seen.flatMap { ids.contains($0) ? Int32($0) : nil }
        }
        let stated = GenerationConfiguration(config: config, generation: generation)
        let older = GenerationConfiguration(config: config, generation: nil)
        // Padding is never read by a network here, so any number will do: -1 is a habit.
        func padding(_ source: GenerationConfiguration) throws -> Int32? {
            try source.ids("pad_token_id").first { ids.contains($0) }.map { Int32($0) }
        }
        c.padTokenID = try padding(stated) ?? padding(older) ?? id([], facts.padTokenID) ?? 0
        c.decoderStartTokenID =
            try id(
                [
                    (stated, "decoder_start_token_id"), (stated, "bos_token_id"),
                    (older, "decoder_start_token_id"),
                ], facts.decoderStartTokenID) ?? c.padTokenID
        // Of a list, ids that the model cannot write are passed over.
        let ends = try stated.ids("eos_token_id").filter(ids.contains).map { Int32($0) }
        let usual = try id([], facts.eosTokenID) ?? 1
        let isSilent = stated.file != "generation_config.json" && config?["eos_token_id"] == nil
        c.eosTokenIDs = isSilent ? [usual] : ends
        c.eosTokenID =
            try ends.first
            ?? older.ids("eos_token_id").first { ids.contains($0) }.map { Int32($0) } ?? usual
        c.unkTokenID = try older.ids("unk_token_id").first { ids.contains($0) }.map(Int32.init) ?? 2
    }
}
