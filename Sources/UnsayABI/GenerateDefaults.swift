import CUnsay
import Decoding
import Models
import Support

/// A model's own generate options as C has them, with the arrays that they point to.
final class GenerateDefaults: @unchecked Sendable {
    private(set) var options = generateDefaults
    /// As unsay_model_generation returns it.
    let description: BorrowedText
    /// A sentence for each value in the model's files that is refused or has no effect.
    private let warnings: [String]
    private var arrays: [UnsafeMutableRawPointer] = []

    init(_ model: Model) {
        let defaults = GenerationDefaults(model)
        description = BorrowedText(defaults.json(ends: model.configuration.eosTokenIDs).text())
        warnings = (defaults.refusals + defaults.remarks).map(\.sentence)
        write(defaults.options)
    }

    /// Tells the host once, when a model is opened.
    func warn() {
        for warning in warnings { log(UNSAY_LOG_WARNING, warning) }
    }

    deinit {
        for array in arrays { array.deallocate() }
    }

    private func write(_ settings: GenerateOptions) {
        options.max_new_tokens = Int32(clamping: settings.maxNewTokens)
        options.min_new_tokens = Int32(clamping: settings.minNewTokens)
        options.num_beams = Int32(clamping: settings.numBeams)
        options.num_return_sequences = Int32(clamping: settings.numReturnSequences)
        options.num_beam_groups = Int32(clamping: settings.numBeamGroups)
        options.diversity_penalty = settings.diversityPenalty
        options.length_penalty = settings.lengthPenalty
        switch settings.earlyStopping {
        case .no: options.early_stopping = UNSAY_EARLY_STOPPING_NO
        case .yes: options.early_stopping = UNSAY_EARLY_STOPPING_YES
        case .never: options.early_stopping = UNSAY_EARLY_STOPPING_NEVER
        case .unfit: options.early_stopping = unsay_early_stopping(rawValue: 3)
        }
        options.do_sample = settings.doSample ? 1 : 0
        options.prompt_lookup_num_tokens = Int32(clamping: settings.promptLookupNumTokens)
        options.max_matching_ngram_size = Int32(clamping: settings.maxMatchingNgramSize)
        write(settings.filters)
        write(settings.rules)
        (options.force_words, options.force_word_count) = lend(settings.forceWords)
        let strings = settings.stopStrings.map { lend($0.map(CChar.init(bitPattern:)) + [0]).0 }
        (options.stop_strings, options.stop_string_count) = lend(strings)
    }

    private func write(_ filters: SamplingFilters) {
        options.temperature = filters.temperature
        options.top_k = Int32(clamping: filters.topK)
        options.top_p = filters.topP
        options.min_p = filters.minP
        options.typical_p = filters.typicalP
        options.epsilon_cutoff = filters.epsilonCutoff
        options.eta_cutoff = filters.etaCutoff
    }

    private func write(_ rules: LogitsRules) {
        options.repetition_penalty = rules.repetitionPenalty
        options.encoder_repetition_penalty = rules.encoderRepetitionPenalty
        options.no_repeat_ngram_size = Int32(clamping: rules.noRepeatNgramSize)
        options.encoder_no_repeat_ngram_size = Int32(clamping: rules.encoderNoRepeatNgramSize)
        options.forced_bos_token_id = rules.forcedBOSTokenID ?? -1
        options.forced_eos_token_id = rules.forcedEOSTokenID ?? -1
        (options.suppress_tokens, options.suppress_token_count) = lend(rules.suppressTokens)
        (options.begin_suppress_tokens, options.begin_suppress_token_count) =
            lend(rules.beginSuppressTokens)
        (options.bad_words, options.bad_word_count) = lend(rules.badWords)
        (options.sequence_bias, options.sequence_bias_count) = lend(rules.sequenceBias.map(\.ids))
        options.sequence_bias_values = lend(rules.sequenceBias.map(\.bias)).0
    }

    private func lend(_ runs: [[Int32]]) -> (UnsafePointer<unsay_sequence>?, Int) {
        lend(
            runs.map {
                let (ids, count) = lend($0)
                return unsay_sequence(text: nil, text_size: 0, ids: ids, id_count: count)
            })
    }

    /// Copies an array to memory that lives as long as this object; nil if it is empty.
    private func lend<Element>(_ elements: [Element]) -> (UnsafePointer<Element>?, Int) {
        guard !elements.isEmpty else { return (nil, 0) }
        let copy = UnsafeMutablePointer<Element>.allocate(capacity: elements.count)
        copy.initialize(from: elements, count: elements.count)
        arrays.append(UnsafeMutableRawPointer(copy))
        return (UnsafePointer(copy), elements.count)
    }
}

@_cdecl("unsay_model_generate_options") @implementation
public func unsay_model_generate_options(
    _ handle: OpaquePointer!, _ options: UnsafeMutablePointer<unsay_generate_options>!,
    _ struct_size: Int
) -> unsay_status {
    boundary {
        let owner = try object(handle, ModelHandle.self, "model")
        let options = try require(options, "options")
        guard initialise(options, struct_size, with: owner.defaults.options) else {
            throw Failure(
                UNSAY_E_ARGUMENT, "struct_size is \(UInt(bitPattern: struct_size)): pass sizeof")
        }
    }
}

@_cdecl("unsay_model_generation") @implementation
public func unsay_model_generation(_ handle: OpaquePointer!) -> UnsafePointer<CChar>! {
    guard let owner = try? object(handle, ModelHandle.self, "model") else { return nil }
    return UnsafePointer(owner.defaults.description.pointer)
}
