import CUnsay
import Support

/// The sizes and constants of one T5 network, named as in config.json.
package struct T5Configuration: Sendable, Equatable {
    /// The non-linearity between the two feed-forward projections (`dense_act_fn`).
    package enum Activation: String, Sendable {
        case relu
        case geluNew = "gelu_new"
        case gelu
        case silu
    }

    package var vocabSize = 0
    package var dModel = 0
    package var dKV = 0
    package var dFF = 0
    package var numHeads = 0
    package var numLayers = 0
    /// 0 for an encoder-only model.
    package var numDecoderLayers = 0
    package var relativeAttentionNumBuckets = 32
    package var relativeAttentionMaxDistance = 128
    package var layerNormEpsilon: Float = 1e-6
    package var activation = Activation.relu
    /// True in v1.1: `act(wi_0 x) * wi_1 x` instead of `act(wi x)`.
    package var isGated = false
    /// True where the output head is the embedding table (`tie_word_embeddings`).
    package var tiesHead = true
    /// True where the files end in the decoder's states: there is nothing to write with.
    package var lacksHead = false
    /// Multiplies the decoder's output before the head: `d_model^-0.5` in v1.0, else 1.
    package var headScale: Float = 1
    /// True in UMT5: every block has a relative bias table of its own, not just block 0.
    package var hasBiasPerLayer = false

    package var padTokenID: Int32 = 0
    package var eosTokenID: Int32 = 1
    /// The ids that end an output; none where generation_config.json names none.
    package var eosTokenIDs: [Int32] = [1]
    package var unkTokenID: Int32 = 2
    package var decoderStartTokenID: Int32 = 0

    package init() {}

    /// The width of all heads together: `num_heads * d_kv`; not always `d_model`.
    package var innerDim: Int { numHeads * dKV }

    /// The same with an output head of its own, which goes on reading states times `headScale`.
    package var withOwnHead: T5Configuration {
        var own = self
        own.tiesHead = own.numDecoderLayers == 0
        return own
    }

    /// The same with the embedding table as its output head.
    package var withTiedHead: T5Configuration {
        var tied = self
        tied.tiesHead = true
        return tied
    }

    /// Whether two networks are the same but for where the output head lies: weights of one can
    /// then be compared with those of the other.
    package func fits(_ other: T5Configuration) -> Bool { withOwnHead == other.withOwnHead }
}

extension T5Configuration {
    /// - Throws: `UNSAY_E_UNSUPPORTED` for files that hold a decoder and no head.
    package func requireHead() throws {
        guard lacksHead else { return }
        throw Failure(
            UNSAY_E_UNSUPPORTED,
            "this model has no output head: its files end in the decoder's states, so it writes "
                + "nothing")
    }
}
