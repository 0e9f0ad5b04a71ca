import Tensors

/// What the backward pass of a stack needs of its forward pass.
package struct StackTape {
    enum Block {
        case nothing
        /// What the block read: its layers are run again when their turn comes.
        case input(Rows)
        case layers(BlockTape)
    }

    let ids: [Int32]
    let sequences: Ragged
    let encoder: EncoderOutput?
    let buckets: RelativeBuckets
    let biases: [DistanceBias]
    let blocks: [Block]
    let x: Rows
    let inverseRMS: Rows
}

/// What a forward pass leaves in the arena for the backward pass.
package enum TapeKeeping: Equatable, Sendable {
    /// Nothing: none will follow.
    case nothing
    /// Every layer's values, from a block on.
    case layers(from: Int)
    /// Only what each block reads, from a block on: less memory, one more forward pass.
    case inputs(from: Int)

    enum OfBlock { case nothing, input, layers }

    func of(block: Int) -> OfBlock {
        switch self {
        case .nothing: .nothing
        case .layers(let from): block < from ? .nothing : .layers
        case .inputs(let from): block < from ? .nothing : .input
        }
    }
}

/// A layer of a stack, the lowest first.
package struct LayerPlace: Equatable, Sendable {
    package enum Layer: Int { case selfAttention, crossAttention, feedForward }

    /// -1 for the embedding.
    package let block: Int
    package let layer: Layer

    package init(block: Int, layer: Layer) {
        self.block = block
        self.layer = layer
    }

    package static let embedding = LayerPlace(block: -1, layer: .selfAttention)
    /// Above every block.
    package static let finalNorm = LayerPlace(block: .max, layer: .selfAttention)

    package static func lowest(_ one: LayerPlace?, _ other: LayerPlace?) -> LayerPlace? {
        guard let one, let other else { return one ?? other }
        return (one.block, one.layer.rawValue) <= (other.block, other.layer.rawValue) ? one : other
    }
}

extension StackWeights {
    /// Of gradients: the lowest layer with a trained weight, nil if no block has one.
    ///
    /// A shared table of relative positions belongs to block 0.
    package var lowestTrained: LayerPlace? {
        for (index, block) in blocks.enumerated() {
            if let layer = block.lowestTrained { return LayerPlace(block: index, layer: layer) }
        }
        return nil
    }

    /// Of gradients: whether anything here is trained.
    package var isTrained: Bool { lowestTrained != nil || !finalNorm.isEmpty }
}

extension BlockWeights {
    fileprivate var lowestTrained: LayerPlace.Layer? {
        let own = selfAttention
        if own.queryKeyValue.isTrained || own.output.isTrained || !own.norm.isEmpty
            || relativeBias?.isEmpty == false
        {
            return .selfAttention
        }
        if let cross = crossAttention,
            cross.query.isTrained || cross.keyValue.isTrained || cross.output.isTrained
                || !cross.norm.isEmpty
        {
            return .crossAttention
        }
        let dense = feedForward
        return dense.input.isTrained || dense.output.isTrained || !dense.norm.isEmpty
            ? .feedForward : nil
    }
}
