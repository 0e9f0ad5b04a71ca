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
}
