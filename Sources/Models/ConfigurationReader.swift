import CUnsay
import Support
import T5

#if canImport(Glibc)
    import Glibc
#endif

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
        c.numHeads = try size("num_heads", found: facts.numHeads?.value ?? table?.last)
        try agree("num_heads", c.numHeads, facts.numHeads)
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
            "relative_attention_max_distance", found: maxDistance(c.relativeAttentionNumBuckets),
            upTo: 1 << 24)
        try agree(
            "relative_attention_max_distance", c.relativeAttentionMaxDistance, facts.maxDistance)
        c.layerNormEpsilon = try epsilon()
        let projection = config?["feed_forward_proj"]?.string
        c.isGated = config?["is_gated_act"]?.bool ?? projection?.hasPrefix("gated-") ?? isGated
        c.activation = try activation(projection)
        c.hasBiasPerLayer =
            shape("encoder.block.1.layer.0.SelfAttention.relative_attention_bias") != nil
            || shape("decoder.block.1.layer.0.SelfAttention.relative_attention_bias") != nil
        c.tiesHead =
            shape("lm_head") == nil
            && (config?["tie_word_embeddings"]?.bool != false || findings.lacksHead)
        c.lacksHead = findings.lacksHead
        c.headScale = headScale(c)
        try readTokens(into: &c)
        try check(c)
        try checkBuckets(c)
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

    /// - Throws: `UNSAY_E_FORMAT` naming both if config.json says another number than a graph.
    private func agree(_ key: String, _ value: Int, _ seen: Findings.Fact<Int>?) throws {
        guard let seen, seen.value != value else { return }
        throw disagreement(key, "\(value)", "\(seen.value)", seen.graph)
    }

    private func disagreement(
        _ key: String, _ stated: String, _ seen: String, _ graph: String
    ) -> Failure {
        Failure(
            UNSAY_E_FORMAT,
            "config.json says that \(key) is \(stated); \(graph) computes with \(seen)")
    }

    /// The distance by which the graph's buckets grow; nil if they do not tell.
    private func maxDistance(_ buckets: Int) -> Int? {
        if let stated = findings.facts.maxDistance { return stated.value }
        guard !findings.facts.buckets.isEmpty else { return 128 }
        return ([128] + Array(buckets / 2 + 1..<buckets / 2 + 512)).first { distance in
            findings.facts.buckets.allSatisfy { isBidirectional, seen in
                // The last bucket is reached, so that no larger distance would do as well.
                seen.value.values.contains(isBidirectional ? buckets / 2 - 1 : buckets - 1)
                    && firstOther(seen.value, buckets, distance, isBidirectional) == nil
            }
        }
    }

    /// A relative position whose bucket is not T5's; nil if all are.
    private func firstOther(
        _ seen: [Int: Int], _ buckets: Int, _ distance: Int, _ isBidirectional: Bool
    ) -> Int? {
        seen.keys.sorted().first { position in
            let expected = relativePositionBucket(
                position, bidirectional: isBidirectional, buckets: buckets, maxDistance: distance)
            guard let bucket = seen[position], bucket != expected else { return false }
            return !isEdge(position, bucket, expected, buckets, distance, isBidirectional)
        }
    }

    /// True for a position where two buckets meet: the last bits of a logarithm decide, which
    /// differ between libraries.
    private func isEdge(
        _ position: Int, _ bucket: Int, _ expected: Int, _ buckets: Int, _ distance: Int,
        _ isBidirectional: Bool
    ) -> Bool {
        let half = isBidirectional ? buckets / 2 : buckets
        let exact = Double(half / 2)
        let step =
            log(Double(abs(position)) / exact) / log(Double(distance) / exact)
            * (Double(half) - exact)
        return abs(bucket - expected) == 1 && abs(step - step.rounded()) < 1e-5
    }

    private func checkBuckets(_ c: T5Configuration) throws {
        let (buckets, distance) = (c.relativeAttentionNumBuckets, c.relativeAttentionMaxDistance)
        for (isBidirectional, seen) in findings.facts.buckets {
            guard let position = firstOther(seen.value, buckets, distance, isBidirectional) else {
                continue
            }
            let expected = relativePositionBucket(
                position, bidirectional: isBidirectional, buckets: buckets, maxDistance: distance)
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "\(seen.graph) puts relative position \(position) into bucket "
                    + "\(seen.value[position] ?? -1); T5 has \(expected) with "
                    + "relative_attention_num_buckets \(buckets) and "
                    + "relative_attention_max_distance \(distance)")
        }
    }

    private func epsilon() throws -> Float {
        let stated = config?["layer_norm_epsilon"]?.double.map { Float($0) }
        guard let seen = findings.facts.epsilon else { return stated ?? 1e-6 }
        if let known = [stated ?? 1e-6, 1e-6, 1e-5].first(where: { isStored($0, as: seen.value) }) {
            guard let stated, known != stated else { return known }
            throw disagreement("layer_norm_epsilon", "\(stated)", "\(seen.value)", seen.graph)
        }
        guard let stated else { return seen.value }
        throw disagreement("layer_norm_epsilon", "\(stated)", "\(seen.value)", seen.graph)
    }

    /// True if a graph's number is this one, as float32 or rounded to 16 bits.
    private func isStored(_ number: Float, as seen: Float) -> Bool {
        let half = Float(Float16(number))
        let brain = Float(bitPattern: (number.bitPattern &+ 0x7fff) & 0xffff_0000)
        return [number, half, brain].contains { abs($0 - seen) <= 1e-5 * abs($0) }
    }

    /// By the names that transformers has for one function.
    private static let activations: [String: T5Configuration.Activation] = [
        "relu": .relu, "gelu": .gelu, "gelu_python": .gelu, "gelu_new": .geluNew,
        "gelu_fast": .geluNew, "gelu_accurate": .geluNew, "gelu_pytorch_tanh": .geluNew,
        "silu": .silu, "swish": .silu,
    ]

    private func activation(_ projection: String?) throws -> T5Configuration.Activation {
        // transformers reads "gated-gelu" as the tanh approximation, "gelu_new".
        let written =
            projection == "gated-gelu"
            ? "gelu_new"
            : projection.map { $0.hasPrefix("gated-") ? String($0.dropFirst(6)) : $0 }
        let stated = config?["dense_act_fn"]?.string ?? written
        let seen = findings.facts.activation
        guard let name = stated ?? seen?.value else { return .relu }
        guard let activation = Self.activations[name] else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "the activation \"\(name)\" is not supported: expected relu, gelu_new, gelu or silu"
            )
        }
        if let seen, seen.value != activation.rawValue {
            throw disagreement("the activation", "\"\(name)\"", "\"\(seen.value)\"", seen.graph)
        }
        return activation
    }

    /// The graph's own factor, freed of its file's rounding.
    private func headScale(_ c: T5Configuration) -> Float {
        let tied = Float(1 / Double(c.dModel).squareRoot())
        guard let seen = findings.facts.headScale?.value else {
            let isScaled = config?["scale_decoder_outputs"]?.bool ?? c.tiesHead
            return isScaled ? tied : 1
        }
        return [tied, 1].first { isStored($0, as: seen) } ?? seen
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
        // Ids in a list that the model cannot write are passed over.
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
