import T5
import Tensors

/// A network small enough to look at, its weights made by a formula.
struct TinyNetwork {
    let configuration: T5Configuration
    let layout: ParameterLayout
    let snapshot: WeightsSnapshot

    /// - Parameters:
    ///   - isGated: v1.1 (gated gelu, head of its own) or v1.0 (relu, tied head).
    ///   - activation: instead of the family's own.
    init(isGated: Bool, activation: T5Configuration.Activation? = nil) throws {
        let workers = Workers(threads: 1)
        var c = T5Configuration()
        c.vocabSize = 37
        c.dModel = 24
        c.dKV = 8
        c.numHeads = 2
        c.dFF = 40
        c.numLayers = 2
        c.numDecoderLayers = 2
        c.relativeAttentionNumBuckets = 8
        c.relativeAttentionMaxDistance = 16
        c.isGated = isGated
        c.activation = activation ?? (isGated ? .geluNew : .relu)
        c.tiesHead = !isGated
        c.headScale = isGated ? 1 : 1 / Float(c.dModel).squareRoot()
        configuration = c
        let layout = ParameterLayout(c)
        self.layout = layout
        snapshot = try WeightsSnapshot(layout, c, workers: workers) { index, values in
            let parameter = layout.parameters[index]
            let isNorm = parameter.shape.count == 1
            for i in values.indices {
                let wave = formula(index * 7919 + i)
                values[i] = isNorm ? 1 + 0.3 * wave : 0.2 * wave
            }
        }
    }

    var pass: Pass { Pass(configuration, arena: Arena(), workers: Workers(threads: 1)) }

    /// `count` ids, different for every `seed`.
    func ids(_ count: Int, seed: Int) -> [Int32] {
        (0..<count).map { Int32((seed * 131 + $0 * 17 + $0 * $0 * 5) % configuration.vocabSize) }
    }
}

/// A number in -1...1 that looks random, the same everywhere.
func formula(_ index: Int) -> Float {
    var z = UInt64(truncatingIfNeeded: index) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Float(Int64(bitPattern: z ^ (z >> 31)) >> 40) / Float(1 << 23)
}
