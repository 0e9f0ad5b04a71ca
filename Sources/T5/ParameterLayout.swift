/// One weight of the network.
package struct Parameter: Sendable, Equatable {
    /// As in the transformers state dict, e.g. `encoder.block.0.layer.0.SelfAttention.q.weight`.
    package let name: String
    /// `[out, in]` of a projection, `[entries, width]` of a table, `[width]` of a norm.
    package let shape: [Int]
    /// Where it begins in a flat array of all weights, in floats; a multiple of 16.
    package let offset: Int

    package var count: Int { shape.reduce(1, *) }
    package var rows: Int { shape.count == 2 ? shape[0] : 1 }
    package var columns: Int { shape[shape.count - 1] }
}

/// Every weight of a network in canonical order: the order of the transformers state
/// dict, encoder first. Fingerprints, deltas and `unsay_model_tensor` follow it.
package struct ParameterLayout: Sendable, Equatable {
    package let parameters: [Parameter]
    /// The floats of a flat array of all weights, gaps between them included.
    package let flatCount: Int
    private let indices: [String: Int]

    package init(_ configuration: T5Configuration) {
        var parameters: [Parameter] = []
        var offset = 0
        func add(_ name: String, _ shape: Int...) {
            let parameter = Parameter(name: name + ".weight", shape: shape, offset: offset)
            parameters.append(parameter)
            offset += (parameter.count + 15) & ~15
        }
        let c = configuration
        func attention(_ prefix: String, hasBias: Bool) {
            add("\(prefix).q", c.innerDim, c.dModel)
            add("\(prefix).k", c.innerDim, c.dModel)
            add("\(prefix).v", c.innerDim, c.dModel)
            add("\(prefix).o", c.dModel, c.innerDim)
            if hasBias {
                add("\(prefix).relative_attention_bias", c.relativeAttentionNumBuckets, c.numHeads)
            }
        }
        func stack(_ name: String, layers: Int, attendsToInput: Bool) {
            guard layers > 0 else { return }
            for block in 0..<layers {
                var layer = 0
                func next(_ body: (String) -> Void) {
                    let prefix = "\(name).block.\(block).layer.\(layer)"
                    body(prefix)
                    add("\(prefix).layer_norm", c.dModel)
                    layer += 1
                }
                next { attention("\($0).SelfAttention", hasBias: block == 0 || c.hasBiasPerLayer) }
                if attendsToInput {
                    next { attention("\($0).EncDecAttention", hasBias: false) }
                }
                next {
                    if c.isGated {
                        add("\($0).DenseReluDense.wi_0", c.dFF, c.dModel)
                        add("\($0).DenseReluDense.wi_1", c.dFF, c.dModel)
                    } else {
                        add("\($0).DenseReluDense.wi", c.dFF, c.dModel)
                    }
                    add("\($0).DenseReluDense.wo", c.dModel, c.dFF)
                }
            }
            add("\(name).final_layer_norm", c.dModel)
        }
        add("shared", c.vocabSize, c.dModel)
        stack("encoder", layers: c.numLayers, attendsToInput: false)
        stack("decoder", layers: c.numDecoderLayers, attendsToInput: true)
        if !c.tiesHead && c.numDecoderLayers > 0 { add("lm_head", c.vocabSize, c.dModel) }

        self.init(parameters, flatCount: offset)
    }

    private init(_ parameters: [Parameter], flatCount: Int) {
        self.parameters = parameters
        self.flatCount = flatCount
        indices = Dictionary(
            uniqueKeysWithValues: parameters.enumerated().map { ($0.element.name, $0.offset) })
    }

    /// The index of the embedding table; nil in no network.
    package var table: Int? { index(of: "shared") }

    /// The index of a head of its own, which is the last; nil where the head is the embedding
    /// table or there is none.
    package var ownHead: Int? { index(of: "lm_head") }

    /// The same with a head of its own at the end, of the embedding table's shape.
    package var withOwnHead: ParameterLayout {
        guard ownHead == nil, let table else { return self }
        let head = Parameter(
            name: "lm_head.weight", shape: parameters[table].shape, offset: flatCount)
        return ParameterLayout(
            parameters + [head], flatCount: flatCount + ((head.count + 15) & ~15))
    }

    /// The same with the embedding table as its head.
    package var withTiedHead: ParameterLayout {
        guard let ownHead else { return self }
        return ParameterLayout(
            Array(parameters[..<ownHead]), flatCount: parameters[ownHead].offset)
    }

    /// The parameter of that name, without or with its `.weight`; nil if there is none.
    package func index(of name: String) -> Int? { indices[name] ?? indices[name + ".weight"] }

    /// The floats of all weights, gaps left out: `parameter_count`.
    package var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }
}
