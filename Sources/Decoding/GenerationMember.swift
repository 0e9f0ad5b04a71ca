import Support

/// A member of generation_config.json and the option that it sets.
struct GenerationMember {
    /// The result of reading a value.
    enum Outcome {
        case taken
        /// The value changes nothing; the reason begins with "which".
        case ineffective(String)
        /// transformers refuses it as well, and so does the option's present value.
        case refused(expected: String)
    }

    /// The setting without which an option has no effect.
    enum Need: String, CustomStringConvertible {
        case nothing
        case drawing = "do_sample"
        case beams

        var description: String { rawValue }
    }

    let name: String
    /// The option's name in unsay.h.
    let option: String
    var need = Need.nothing
    let read: (JSON, inout GenerationDefaults) -> Outcome
    /// The option's value; nil if another member shows it.
    var show: ((GenerateOptions) -> JSON)?

    /// Every member that is an option here. The first two decide what others have no effect without.
    static var all: [GenerationMember] {
        [
            truth("do_sample", \.doSample),
            whole("num_beams", \.numBeams, from: 1),
            longest("max_new_tokens", less: 0),
            longest("max_length", less: 1),
            shortest("min_new_tokens", less: 0),
            shortest("min_length", less: 1),
            whole("num_return_sequences", \.numReturnSequences, from: 1),
            whole("num_beam_groups", \.numBeamGroups, from: 1, offBelow: true),
            real("diversity_penalty", \.diversityPenalty, "at least 0", .beams) { $0 >= 0 },
            real("length_penalty", \.lengthPenalty, "a finite number", .beams) { _ in true },
            stopping("early_stopping"),
            real("temperature", \.filters.temperature, "above 0", .drawing) { $0 > 0 },
            whole("top_k", \.filters.topK, from: 0, null: 0, .drawing),
            // A nucleus of nothing holds the likeliest token.
            real(
                "top_p", \.filters.topP, "from 0 to 1", .drawing, off: { !($0 < 1) },
                atLeast: .leastNormalMagnitude
            ) { $0 >= 0 },
            real("min_p", \.filters.minP, "from 0 to 1", .drawing) { (0...1).contains($0) },
            real("typical_p", \.filters.typicalP, "above 0", .drawing, off: { !($0 < 1) }) {
                $0 > 0
            },
            real(
                "epsilon_cutoff", \.filters.epsilonCutoff, "a number", .drawing,
                off: { !($0 > 0 && $0 < 1) }
            ) { _ in true },
            real(
                "eta_cutoff", \.filters.etaCutoff, "a number", .drawing,
                off: { !($0 > 0 && $0 < 1) }
            ) { _ in true },
            real("repetition_penalty", \.rules.repetitionPenalty, "above 0") { $0 > 0 },
            real("encoder_repetition_penalty", \.rules.encoderRepetitionPenalty, "above 0") {
                $0 > 0
            },
            whole("no_repeat_ngram_size", \.rules.noRepeatNgramSize, from: 1, offBelow: true),
            whole(
                "encoder_no_repeat_ngram_size", \.rules.encoderNoRepeatNgramSize, from: 1,
                offBelow: true),
            forced("forced_bos_token_id", \.rules.forcedBOSTokenID),
            forced("forced_eos_token_id", \.rules.forcedEOSTokenID),
            suppressed("suppress_tokens", \.rules.suppressTokens),
            suppressed("begin_suppress_tokens", \.rules.beginSuppressTokens),
            runs("bad_words_ids", option: "bad_words", \.rules.badWords),
            runs("force_words_ids", option: "force_words", \.forceWords),
            biases("sequence_bias"),
            texts("stop_strings", \.stopStrings),
            whole("prompt_lookup_num_tokens", \.promptLookupNumTokens, from: 1, upTo: 63),
            whole("max_matching_ngram_size", \.maxMatchingNgramSize, from: 1),
        ]
    }

    /// The filters of drawing.
    static let filters = [
        "temperature", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff",
    ]

    /// Members that change what transformers writes and are no options here, and whether a value
    /// changes nothing.
    static var missing: [(name: String, isHarmless: (JSON, GenerateOptions) -> Bool)] {
        [
            (
                "penalty_alpha",
                { value, options in
                    value.pythonNumber.map { $0 <= 0 } == true
                        || options.numBeams > 1 || options.doSample
                }
            ),
            ("dola_layers", { _, options in options.numBeams > 1 }),
            ("guidance_scale", { value, _ in value.pythonNumber == 1 }),
            ("watermarking_config", { _, _ in false }),
            ("exponential_decay_length_penalty", { _, _ in false }),
            ("constraints", { value, _ in value.array?.isEmpty == true }),
            ("token_healing", { value, _ in value.pythonNumber == 0 }),
            (
                "renormalize_logits",
                { value, options in value.bool != true || options.numBeams == 1 }
            ),
            ("max_time", { _, _ in false }),
        ]
    }
}
