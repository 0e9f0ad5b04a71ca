import CUnsay
import Support

/// What a session trains of a network, and where each part lies in one flat array.
package struct TrainedLayout: Sendable, Equatable {
    /// What becomes of one weight.
    package enum Share: Sendable, Equatable {
        case frozen
        /// Itself; its place among `slots`.
        case whole(Int)
        /// Of the head, the rows of some token ids; their place among `slots`.
        case rows(Int, ids: [Int32])
        /// A change `scale * b a` of it; the places of both factors among `slots`.
        case factors(a: Int, b: Int)
    }

    package let base: ParameterLayout
    /// Trained weights, or rows of them, by their own names, factors as `<name>.lora_A` and `<name>.lora_B`;
    /// in canonical order of the weights they belong to.
    package let slots: [Parameter]
    /// Of each weight of `base`.
    package let shares: [Share]
    /// The floats of a flat array of all slots, gaps between them included.
    package let flatCount: Int
    /// 0 where weights are trained themselves.
    package let rank: Int
    /// lora_alpha / rank: multiplies b a.
    package let scale: Float

    /// - Parameters:
    ///   - rank: 0 to train weights themselves; else the projections of the scope's blocks
    ///     are trained by factors of that rank, and its other weights are left alone.
    ///   - alpha: `lora_alpha`.
    /// - Throws: `UNSAY_E_ARGUMENT` if nothing would be trained.
    package init(
        _ base: ParameterLayout, scope: Scope = .all, rank: Int = 0, alpha: Float = 0
    ) throws {
        let chosen = Set(try scope.indices(base))
        var slots: [Parameter] = []
        var flatCount = 0
        func slot(_ name: String, _ shape: [Int]) -> Int {
            let parameter = Parameter(name: name, shape: shape, offset: flatCount)
            slots.append(parameter)
            flatCount += (parameter.count + 15) & ~15
            return slots.count - 1
        }
        shares = base.parameters.enumerated().map { index, parameter in
            guard chosen.contains(index) else { return .frozen }
            if case .tokens(let ids) = scope, rank == 0 {
                guard !ids.isEmpty else { return .frozen }
                return .rows(slot(parameter.name, [ids.count, parameter.columns]), ids: ids)
            }
            guard rank > 0 else { return .whole(slot(parameter.name, parameter.shape)) }
            guard parameter.isBlockProjection else { return .frozen }
            return .factors(
                a: slot("\(parameter.name).lora_A", [rank, parameter.columns]),
                b: slot("\(parameter.name).lora_B", [parameter.rows, rank]))
        }
        guard !slots.isEmpty else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                rank > 0
                    ? "the scope holds no projection of a block: nothing to train by factors"
                    : "the scope holds no weight of this model, or no token is avoided: nothing "
                        + "to train")
        }
        self.base = base
        self.slots = slots
        self.flatCount = flatCount
        self.rank = rank
        scale = rank > 0 ? alpha / Float(rank) : 0
    }

    package func isTrained(_ index: Int) -> Bool { shares[index] != .frozen }

    /// Whether nothing below the output head is trained: the states that it reads never change.
    package var trainsHeadAlone: Bool {
        base.parameters.indices.allSatisfy { !isTrained($0) || $0 == base.ownHead }
    }
}

extension Parameter {
    /// Whether it is a projection of an attention or a feed-forward layer.
    fileprivate var isBlockProjection: Bool {
        shape.count == 2 && name.contains(".layer.") && !name.contains("relative_attention_bias")
    }
}
