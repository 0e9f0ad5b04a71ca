import T5

/// How far down a backward pass has to go: to the lowest weight that is trained, and
/// no further.
struct BackwardReach {
    /// The lowest layer of each stack that it reaches; nil where it leaves the stack alone.
    let decoder: LayerPlace?
    let encoder: LayerPlace?

    /// None at all.
    init(decoder: LayerPlace?, encoder: LayerPlace?) {
        self.decoder = decoder
        self.encoder = encoder
    }

    /// - Parameter gradients: has rows where something is trained.
    init(_ gradients: Network) {
        func lowest(_ stack: StackWeights?) -> LayerPlace? {
            guard !gradients.embedding.isTrained else { return .embedding }
            return stack?.lowestTrained ?? (stack?.isTrained == true ? .finalNorm : nil)
        }
        encoder = lowest(gradients.encoder)
        // The encoder is reached through every cross-attention.
        decoder = .lowest(
            lowest(gradients.decoder),
            encoder == nil ? nil : LayerPlace(block: 0, layer: .crossAttention))
    }

    /// What the forward pass of a stack that is reached down to `lowest` has to keep.
    static func keeps(_ lowest: LayerPlace?, recomputes: Bool) -> TapeKeeping {
        guard let lowest else { return .nothing }
        let block = max(lowest.block, 0)
        return recomputes ? .inputs(from: block) : .layers(from: block)
    }
}
