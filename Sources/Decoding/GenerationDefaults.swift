import CUnsay
import Models
import Support

/// The options with which a model writes where a caller gives none: the library's own, changed
/// by what generation_config.json or an older config.json says, as transformers 4.57 reads them.
package struct GenerationDefaults {
    package var options = GenerateOptions()
    /// The file that says so; nil if the model has none.
    package let file: String?
    /// Values that transformers refuses as well. The options hold impossible ones in their place,
    /// so that only a call that does not replace them fails.
    package private(set) var refusals: [Remark] = []
    /// The members of the file that have no effect, and why.
    package private(set) var remarks: [Remark] = []
    /// The members of the file.
    let members: [String: JSON]
    let vocabSize: Int

    package struct Remark: Sendable {
        /// The option's name in unsay.h, or the member's.
        package let name: String
        /// Names the file, the member and its value.
        package let sentence: String
    }

    package init(_ model: Model) {
        self.init(
            model.checkpoint.generation, vocabSize: model.configuration.vocabSize,
            ends: model.configuration.eosTokenIDs)
    }

    /// - Parameter ends: the ids that end an output.
    init(_ configuration: GenerationConfiguration, vocabSize: Int, ends: [Int32]) {
        file = configuration.file
        members = configuration.members
        self.vocabSize = vocabSize
        for member in GenerationMember.all {
            guard let value = members[member.name] else { continue }
            take(value, member)
        }
        // Files that draw leave out what equals transformers' own default, which is 50 here.
        let draws = GenerationMember.filters.contains { members[$0, default: .null] != .null }
        if options.doSample || draws, members["top_k"] == nil { options.filters.topK = 50 }
        for (name, isHarmless) in GenerationMember.missing {
            guard let value = members[name], value != .null, !isHarmless(value, options) else {
                continue
            }
            remark(name, value, "which this library does not have: outputs are written without it")
        }
        if file == "generation_config.json", ends.isEmpty {
            remarks.append(
                Remark(
                    name: "eos_token_id",
                    sentence: "generation_config.json names no eos_token_id that the model can "
                        + "write: every output has full length"))
        }
        settle(&options)
    }

    private mutating func take(_ value: JSON, _ member: GenerationMember) {
        let before = options
        switch member.read(value, &self) {
        case .taken: break
        case .ineffective(let reason): remark(member.name, value, reason)
        case .refused(let expected):
            let hasEffect =
                switch member.need {
                case .nothing: true
                case .drawing: options.doSample
                case .beams: options.numBeams > 1
                }
            guard hasEffect else {
                options = before
                return remark(member.name, value, "which has no effect without \(member.need)")
            }
            let sentence = describe(member.name, value) + ", expected \(expected)"
            refusals.append(Remark(name: member.option, sentence: sentence))
        }
    }

    private mutating func remark(_ name: String, _ value: JSON, _ reason: String) {
        remarks.append(Remark(name: name, sentence: "\(describe(name, value)), \(reason)"))
    }

    private func describe(_ name: String, _ value: JSON) -> String {
        "\(file ?? "config.json"): \(name) is \(value.told)"
    }

    /// Drops options that are the model's where others, a caller's, leave them no room: groups
    /// and more hypotheses without beams, guesses with beams, an end later than the output's.
    package func settle(_ settings: inout GenerateOptions) {
        if settings.numBeams == 1 {
            if settings.numBeamGroups == options.numBeamGroups { settings.numBeamGroups = 1 }
            if settings.forceWords == options.forceWords { settings.forceWords = [] }
        }
        if settings.numReturnSequences == options.numReturnSequences, !settings.doSample {
            settings.numReturnSequences = min(settings.numReturnSequences, settings.numBeams)
        }
        if settings.numBeamGroups == 1, settings.diversityPenalty == options.diversityPenalty {
            settings.diversityPenalty = 0
        }
        let isGreedy = settings.numBeams == 1 && !settings.doSample && settings.onLogits == nil
        if !isGreedy, settings.promptLookupNumTokens == options.promptLookupNumTokens {
            settings.promptLookupNumTokens = 0
        }
        if settings.minNewTokens == options.minNewTokens {
            settings.minNewTokens = min(settings.minNewTokens, max(settings.maxNewTokens, 0))
        }
    }

    /// Runs `body`; an argument error that is about a refused value says what the file has.
    package func explaining<Value>(_ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch let failure as Failure where failure.status == UNSAY_E_ARGUMENT {
            guard let found = refusals.first(where: { failure.sentence.hasPrefix($0.name) }) else {
                throw failure
            }
            throw Failure(UNSAY_E_FORMAT, found.sentence)
        }
    }

    /// For programs and `unsay info`: the file, the options that differ from the library's, and
    /// the sentences of refusals and remarks.
    package func json(ends: [Int32]) -> JSON {
        let plain = GenerateOptions()
        var found: [String: JSON] = [:]
        for member in GenerationMember.all {
            guard let show = member.show, show(options) != show(plain) else { continue }
            found[member.name] = show(options)
        }
        found["eos_token_id"] = .array(ends.map { .number(Double($0)) })
        return .object([
            "file": file.map(JSON.string) ?? .null,
            "options": .object(found),
            "remarks": .array((refusals + remarks).map { .string($0.sentence) }),
        ])
    }
}
