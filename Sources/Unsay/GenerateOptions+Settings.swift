import Decoding
import Models

extension GenerateOptions {
    /// As the search takes them: the model's defaults, changed by what is set here, checked.
    func settings(
        _ model: Models.Model, inputs: Int, _ callbacks: GenerateCallbacks
    ) throws -> Decoding.GenerateOptions {
        let defaults = GenerationDefaults(model)
        return try defaults.explaining {
            var settings = defaults.options
            try change(&settings, model)
            callbacks.set(&settings, model)
            try settings.validate(for: model, defaults, inputs: inputs)
            return settings
        }
    }

    private func change(
        _ settings: inout Decoding.GenerateOptions, _ model: Models.Model
    ) throws {
        set(&settings.maxNewTokens, maxNewTokens)
        set(&settings.minNewTokens, minNewTokens)
        set(&settings.numBeams, numBeams)
        set(&settings.numReturnSequences, numReturnSequences)
        set(&settings.numBeamGroups, numBeamGroups)
        set(&settings.diversityPenalty, diversityPenalty)
        set(&settings.lengthPenalty, lengthPenalty)
        set(&settings.earlyStopping, earlyStopping?.forSearch)
        set(&settings.doSample, doSample)
        settings.seed = seed
        try change(&settings.filters)
        try change(&settings.rules, model)
        settings.eosTokenIDs = eosTokenIDs
        set(&settings.stopStrings, stopStrings?.map { Array($0.utf8) })
        set(&settings.forceWords, try forceWords.map { try model.runs($0, "force_words") })
        settings.prefix = try prefix.map { try model.run($0, "prefix") } ?? []
        settings.prefixes = try prefixes.enumerated().map { index, prefix in
            try prefix.map { try model.run($0, "prefixes[\(index)]") } ?? []
        }
        settings.numAlternatives = numAlternatives
        settings.crossAttention = crossAttention
        set(&settings.promptLookupNumTokens, promptLookupNumTokens)
        set(
            &settings.maxMatchingNgramSize,
            try maxMatchingNgramSize.map { try narrow($0, "max_matching_ngram_size") })
        settings.maxBatchTokens = try narrow(maxBatchTokens, "max_batch_tokens")
        settings.logProbs = logProbs
    }

    private func change(_ filters: inout SamplingFilters) throws {
        set(&filters.temperature, temperature)
        set(&filters.topK, try topK.map { try narrow($0, "top_k") })
        set(&filters.topP, topP)
        set(&filters.minP, minP)
        set(&filters.typicalP, typicalP)
        set(&filters.epsilonCutoff, epsilonCutoff)
        set(&filters.etaCutoff, etaCutoff)
    }

    private func change(_ rules: inout LogitsRules, _ model: Models.Model) throws {
        set(&rules.repetitionPenalty, repetitionPenalty)
        set(&rules.encoderRepetitionPenalty, encoderRepetitionPenalty)
        set(
            &rules.noRepeatNgramSize,
            try noRepeatNgramSize.map { try narrow($0, "no_repeat_ngram_size") })
        set(
            &rules.encoderNoRepeatNgramSize,
            try encoderNoRepeatNgramSize.map { try narrow($0, "encoder_no_repeat_ngram_size") })
        rules.bannedPhrases = bannedPhrases
        if let id = forcedBOSTokenID { rules.forcedBOSTokenID = id == -1 ? nil : id }
        if let id = forcedEOSTokenID { rules.forcedEOSTokenID = id == -1 ? nil : id }
        set(&rules.suppressTokens, suppressTokens)
        set(&rules.beginSuppressTokens, beginSuppressTokens)
        set(&rules.badWords, try badWords.map { try model.runs($0, "bad_words") })
        if let sequenceBias {
            rules.sequenceBias = zip(
                try model.runs(sequenceBias.map(\.run), "sequence_bias"), sequenceBias
            ).map { SequenceBias(ids: $0, bias: $1.bias) }
        }
    }
}

private func set<Value>(_ target: inout Value, _ value: Value?) {
    if let value { target = value }
}

extension EarlyStopping {
    fileprivate var forSearch: Decoding.EarlyStopping {
        switch self {
        case .no: .no
        case .yes: .yes
        case .never: .never
        }
    }

    init(_ stopping: Decoding.EarlyStopping) {
        switch stopping {
        case .no, .unfit: self = .no
        case .yes: self = .yes
        case .never: self = .never
        }
    }
}

extension Model {
    /// The options that this model has where none are set: the library's, changed by
    /// generation_config.json or, where there is none, by an older config.json.
    public var generateOptions: GenerateOptions {
        let found = GenerationDefaults(model).options
        return GenerateOptions {
            $0.maxNewTokens = found.maxNewTokens
            $0.minNewTokens = found.minNewTokens
            $0.numBeams = found.numBeams
            $0.numReturnSequences = found.numReturnSequences
            $0.numBeamGroups = found.numBeamGroups
            $0.diversityPenalty = found.diversityPenalty
            $0.lengthPenalty = found.lengthPenalty
            $0.earlyStopping = EarlyStopping(found.earlyStopping)
            $0.doSample = found.doSample
            $0.topK = found.filters.topK
            $0.topP = found.filters.topP
            $0.minP = found.filters.minP
            $0.typicalP = found.filters.typicalP
            $0.epsilonCutoff = found.filters.epsilonCutoff
            $0.etaCutoff = found.filters.etaCutoff
            $0.temperature = found.filters.temperature
            $0.repetitionPenalty = found.rules.repetitionPenalty
            $0.encoderRepetitionPenalty = found.rules.encoderRepetitionPenalty
            $0.noRepeatNgramSize = found.rules.noRepeatNgramSize
            $0.encoderNoRepeatNgramSize = found.rules.encoderNoRepeatNgramSize
            $0.forcedBOSTokenID = found.rules.forcedBOSTokenID
            $0.forcedEOSTokenID = found.rules.forcedEOSTokenID
            $0.eosTokenIDs = model.configuration.eosTokenIDs
            $0.suppressTokens = found.rules.suppressTokens
            $0.beginSuppressTokens = found.rules.beginSuppressTokens
            $0.badWords = found.rules.badWords
            $0.sequenceBias = found.rules.sequenceBias.map { (run: $0.ids, bias: $0.bias) }
            $0.stopStrings = found.stopStrings.map { String(decoding: $0, as: UTF8.self) }
            $0.forceWords = found.forceWords
            $0.promptLookupNumTokens = found.promptLookupNumTokens
            $0.maxMatchingNgramSize = found.maxMatchingNgramSize
        }
    }

    /// The file that ``generateOptions`` come from, and a sentence for each value in it that has
    /// no effect or cannot be used; the file is nil if the model has none.
    public var generation: (file: String?, remarks: [String]) {
        let defaults = GenerationDefaults(model)
        return (defaults.file, (defaults.refusals + defaults.remarks).map(\.sentence))
    }
}
