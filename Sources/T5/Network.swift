import Tensors

/// What every operation of one forward or backward pass needs.
package struct Pass {
    package let configuration: T5Configuration
    package let arena: Arena
    package let workers: Workers
    /// Of products with plain weights; packed ones have their own.
    package let precision: Precision
    /// nil except while training with dropout.
    package let dropout: Dropout?
    /// Where in the network dropout is: see `within`.
    var place: UInt64 = 0
    /// The sequences that its rows belong to there.
    var sequences: Ragged?

    package init(
        _ configuration: T5Configuration, arena: Arena, workers: Workers,
        precision: Precision = .float32, dropout: Dropout? = nil
    ) {
        self.configuration = configuration
        self.arena = arena
        self.workers = workers
        self.precision = precision
        self.dropout = dropout
    }
}

package struct SelfAttentionWeights: Sendable {
    package let norm: Rows
    package let queryKeyValue: Projection
    package let output: Projection
}

package struct CrossAttentionWeights: Sendable {
    package let norm: Rows
    package let query: Projection
    package let keyValue: Projection
    package let output: Projection
}

package struct FeedForwardWeights: Sendable {
    package let norm: Rows
    /// `wi`, or `wi_0` and `wi_1`.
    package let input: Projection
    package let output: Projection
}

package struct BlockWeights: Sendable {
    package let selfAttention: SelfAttentionWeights
    /// nil in the encoder.
    package let crossAttention: CrossAttentionWeights?
    package let feedForward: FeedForwardWeights
    /// [buckets, heads]; nil where the block uses the table of block 0.
    package let relativeBias: Rows?
}

package struct StackWeights: Sendable {
    package let blocks: [BlockWeights]
    package let finalNorm: Rows
}

/// The whole network as views of weights that somebody else owns: of a `WeightsSnapshot`,
/// of the flat array that a session trains, or of its gradients.
package struct Network: Sendable {
    /// [vocab_size, d_model].
    package let embedding: Projection
    package let encoder: StackWeights
    /// nil for an encoder-only model.
    package let decoder: StackWeights?
    /// The embedding again where the head is tied.
    package let head: Projection

    /// - Parameters:
    ///   - projection: the weights of these names, side by side.
    ///   - table: the weight of that name as it is, [rows, columns].
    package init(
        _ configuration: T5Configuration,
        projection: (_ names: [String]) throws -> Projection,
        table: (_ name: String) throws -> Rows
    ) throws {
        func stack(_ name: String, layers: Int, attendsToInput: Bool) throws -> StackWeights {
            let blocks = try (0..<layers).map { block in
                let prefix = "\(name).block.\(block).layer"
                let own = "\(prefix).0.SelfAttention"
                let last = attendsToInput ? 2 : 1
                let dense = "\(prefix).\(last).DenseReluDense"
                let hasBias = block == 0 || configuration.hasBiasPerLayer
                return BlockWeights(
                    selfAttention: SelfAttentionWeights(
                        norm: try table("\(prefix).0.layer_norm"),
                        queryKeyValue: try projection(["\(own).q", "\(own).k", "\(own).v"]),
                        output: try projection(["\(own).o"])),
                    crossAttention: attendsToInput
                        ? try crossAttention("\(prefix).1", projection: projection, table: table)
                        : nil,
                    feedForward: FeedForwardWeights(
                        norm: try table("\(prefix).\(last).layer_norm"),
                        input: try projection(
                            configuration.isGated
                                ? ["\(dense).wi_0", "\(dense).wi_1"] : ["\(dense).wi"]),
                        output: try projection(["\(dense).wo"])),
                    relativeBias: hasBias ? try table("\(own).relative_attention_bias") : nil)
            }
            return StackWeights(blocks: blocks, finalNorm: try table("\(name).final_layer_norm"))
        }
        embedding = try projection(["shared"])
        encoder = try stack("encoder", layers: configuration.numLayers, attendsToInput: false)
        decoder =
            configuration.numDecoderLayers > 0
            ? try stack("decoder", layers: configuration.numDecoderLayers, attendsToInput: true)
            : nil
        head =
            configuration.tiesHead || configuration.numDecoderLayers == 0
            ? embedding : try projection(["lm_head"])
    }
}

private func crossAttention(
    _ prefix: String, projection: ([String]) throws -> Projection, table: (String) throws -> Rows
) throws -> CrossAttentionWeights {
    let other = "\(prefix).EncDecAttention"
    return CrossAttentionWeights(
        norm: try table("\(prefix).layer_norm"),
        query: try projection(["\(other).q"]),
        keyValue: try projection(["\(other).k", "\(other).v"]),
        output: try projection(["\(other).o"]))
}
