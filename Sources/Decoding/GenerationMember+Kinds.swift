import Support

/// No option of whole numbers may have this value, nor one of ids.
private let impossible = -1

private let largest = Int(Int32.max)

private func number(_ value: Int) -> JSON { .number(Double(value)) }

private func list(_ ids: [Int32]) -> JSON { .array(ids.map { number(Int($0)) }) }

/// The shortest number that reads back as the same float.
private func number(_ value: Float) -> JSON { .number(Double("\(value)") ?? Double(value)) }

extension GenerationMember {
    /// - Parameters:
    ///   - offBelow: whether a number below `least` stands for the library's default.
    ///   - most: larger numbers stand for it.
    ///   - null: what null stands for; nil for the library's default.
    static func whole(
        _ name: String, _ path: WritableKeyPath<GenerateOptions, Int>, from least: Int,
        upTo most: Int = largest, offBelow: Bool = false, null: Int? = nil, _ need: Need = .nothing
    ) -> GenerationMember {
        GenerationMember(
            name: name, option: name, need: need,
            read: { value, defaults in
                if value == .null {
                    if let null { defaults.options[keyPath: path] = null }
                    return .taken
                }
                if let found = value.pythonNumber {
                    if offBelow, !(found >= Double(least)) { return .taken }
                    if let exact = Int(exactly: found), (least...largest).contains(exact) {
                        defaults.options[keyPath: path] = min(exact, most)
                        return .taken
                    }
                }
                defaults.options[keyPath: path] = impossible
                return .refused(expected: "a whole number from \(least)")
            },
            show: { number($0[keyPath: path]) })
    }

    /// - Parameters:
    ///   - isOff: values that stand for the library's default.
    ///   - least: stands for smaller values that are fit.
    static func real(
        _ name: String, _ path: WritableKeyPath<GenerateOptions, Float>, _ range: String,
        _ need: Need = .nothing, off isOff: @escaping (Float) -> Bool = { _ in false },
        atLeast least: Float = -.infinity,
        _ isFit: @escaping (Float) -> Bool
    ) -> GenerationMember {
        GenerationMember(
            name: name, option: name, need: need,
            read: { value, defaults in
                if value == .null { return .taken }
                if let found = value.pythonNumber.map({ Float($0) }) {
                    if isOff(found) { return .taken }
                    if found.isFinite, isFit(found) {
                        defaults.options[keyPath: path] = max(found, least)
                        return .taken
                    }
                }
                defaults.options[keyPath: path] = .nan
                return .refused(expected: range)
            },
            show: { number($0[keyPath: path]) })
    }

    static func truth(
        _ name: String, _ path: WritableKeyPath<GenerateOptions, Bool>
    ) -> GenerationMember {
        GenerationMember(
            name: name, option: name,
            read: { value, defaults in
                // Python's truth: empty values and 0 are false, all others true.
                let isEmpty = value.string?.isEmpty ?? value.array?.isEmpty ?? (value == .null)
                defaults.options[keyPath: path] = value.pythonNumber.map { $0 != 0 } ?? !isEmpty
                return .taken
            },
            show: { .bool($0[keyPath: path]) })
    }

    static func stopping(_ name: String) -> GenerationMember {
        GenerationMember(
            name: name, option: name, need: .beams,
            read: { value, defaults in
                switch value {
                case .bool(let stops): defaults.options.earlyStopping = stops ? .yes : .no
                case .string("never"): defaults.options.earlyStopping = .never
                // transformers lets 0 and 1 pass, and takes both for false.
                case .number(0), .number(1): defaults.options.earlyStopping = .no
                case .null: break
                default:
                    defaults.options.earlyStopping = .unfit
                    return .refused(expected: "true, false or \"never\"")
                }
                return .taken
            },
            show: {
                switch $0.earlyStopping {
                case .no: .bool(false)
                case .yes: .bool(true)
                case .never: .string("never")
                case .unfit: .null
                }
            })
    }

    /// The ids of an output at most. `less`: the start id, where the member counts it.
    static func longest(_ name: String, less start: Int) -> GenerationMember {
        GenerationMember(
            name: name, option: "max_new_tokens",
            read: { value, defaults in
                let isSet = defaults.members["max_new_tokens", default: .null] != .null
                if value == .null || (start > 0 && isSet) { return .taken }
                // Writing goes on below the limit, so half an id is one more.
                let found = value.pythonNumber.flatMap { Int(exactly: $0.rounded(.up)) }
                guard let found, (start + 1...largest).contains(found) else {
                    defaults.options.maxNewTokens = impossible
                    return .refused(expected: "a whole number from \(start + 1)")
                }
                // transformers takes its own default, 20, for new ids, whoever wrote it.
                defaults.options.maxNewTokens = start > 0 && found == 20 ? 20 : found - start
                return .taken
            },
            show: start > 0 ? nil : { number($0.maxNewTokens) })
    }

    /// The ids of an output at least.
    static func shortest(_ name: String, less start: Int) -> GenerationMember {
        GenerationMember(
            name: name, option: "min_new_tokens",
            read: { value, defaults in
                let isSet = defaults.members["min_new_tokens", default: .null] != .null
                if value == .null || (start > 0 && isSet) { return .taken }
                if let found = value.pythonNumber {
                    if !(found > Double(start)) { return .taken }
                    if let exact = Int(exactly: found), exact <= largest {
                        defaults.options.minNewTokens = exact - start
                        return .taken
                    }
                }
                defaults.options.minNewTokens = impossible
                return .refused(expected: "a whole number")
            },
            show: start > 0 ? nil : { number($0.minNewTokens) })
    }

    static func forced(
        _ name: String, _ path: WritableKeyPath<GenerateOptions, Int32?>
    ) -> GenerationMember {
        GenerationMember(
            name: name, option: name,
            read: { value, defaults in
                if value == .null { return .taken }
                let values = value.array ?? [value]
                // Negative ids count from the end of the vocabulary.
                let found = values.map { value in
                    value.int.map {
                        $0 < 0 && path == \.rules.forcedBOSTokenID
                            ? $0 &+ defaults.vocabSize : $0
                    }
                }
                // All are equally likely then, and greedy search takes the lowest.
                let isGreedy = defaults.options.numBeams == 1 && !defaults.options.doSample
                guard found.count < 2 || isGreedy else {
                    return .ineffective("of which one alone can be forced: none is")
                }
                let id = found.contains(nil) ? nil : found.compactMap { $0 }.min()
                guard let id, (0..<defaults.vocabSize).contains(id) else {
                    defaults.options[keyPath: path] = .max
                    return .refused(expected: "an id from 0 to \(defaults.vocabSize - 1)")
                }
                defaults.options[keyPath: path] = Int32(id)
                return .taken
            },
            show: { $0[keyPath: path].map { number(Int($0)) } ?? .null })
    }

    /// Ids that the model cannot write need not be kept from it.
    static func suppressed(
        _ name: String, _ path: WritableKeyPath<GenerateOptions, [Int32]>
    ) -> GenerationMember {
        GenerationMember(
            name: name, option: name,
            read: { value, defaults in
                if value == .null { return .taken }
                guard value.array != nil, let values = numbers(value) else {
                    defaults.options[keyPath: path] = [Int32(impossible)]
                    return .refused(expected: "a list of ids")
                }
                let ids = 0..<defaults.vocabSize
                defaults.options[keyPath: path] = values.compactMap { value in
                    Int(exactly: value).flatMap { ids.contains($0) ? Int32($0) : nil }
                }
                return .taken
            },
            show: { list($0[keyPath: path]) })
    }

    /// The numbers of a list and of the lists in it; nil if something else is there.
    private static func numbers(_ value: JSON) -> [Double]? {
        guard let values = value.array else { return value.pythonNumber.map { [$0] } }
        let found = values.map(numbers)
        return found.contains(nil) ? nil : found.compactMap { $0 }.flatMap { $0 }
    }

    static func runs(
        _ name: String, option: String, _ path: WritableKeyPath<GenerateOptions, [[Int32]]>
    ) -> GenerationMember {
        GenerationMember(
            name: name, option: option,
            read: { value, defaults in
                if value == .null { return .taken }
                let found = value.array?.compactMap { run($0, defaults.vocabSize) }
                guard let found, !found.isEmpty, found.count == value.array?.count else {
                    defaults.options[keyPath: path] = [[Int32(impossible)]]
                    return .refused(
                        expected: "lists of ids from 0 to \(defaults.vocabSize - 1), none empty")
                }
                defaults.options[keyPath: path] = found
                return .taken
            },
            show: { .array($0[keyPath: path].map(list)) })
    }

    /// The ids of a run; nil if it is none, or one that the model cannot write.
    private static func run(_ value: JSON, _ vocabSize: Int) -> [Int32]? {
        guard let values = value.array, !values.isEmpty else { return nil }
        let ids = values.compactMap { value in
            value.int.flatMap { (0..<vocabSize).contains($0) ? Int32($0) : nil }
        }
        return ids.count == values.count ? ids : nil
    }

    static func biases(_ name: String) -> GenerationMember {
        GenerationMember(
            name: name, option: name,
            read: { value, defaults in
                if value == .null { return .taken }
                let found = value.array?.compactMap { pair -> SequenceBias? in
                    guard let pair = pair.array, pair.count == 2,
                        let ids = run(pair[0], defaults.vocabSize), let bias = pair[1].double,
                        !bias.isNaN
                    else { return nil }
                    return SequenceBias(ids: ids, bias: Float(bias))
                }
                guard let found, !found.isEmpty, found.count == value.array?.count else {
                    defaults.options.rules.sequenceBias = [
                        SequenceBias(ids: [Int32(impossible)], bias: .nan)
                    ]
                    return .refused(expected: "pairs of a list of ids and a number")
                }
                defaults.options.rules.sequenceBias = found
                return .taken
            },
            show: {
                .array($0.rules.sequenceBias.map { .array([list($0.ids), number($0.bias)]) })
            })
    }

    static func texts(
        _ name: String, _ path: WritableKeyPath<GenerateOptions, [[UInt8]]>
    ) -> GenerationMember {
        GenerationMember(
            name: name, option: name,
            read: { value, defaults in
                if value == .null { return .taken }
                let values = value.array ?? [value]
                let found = values.compactMap(\.string).filter { !$0.isEmpty }
                defaults.options[keyPath: path] = found.map { Array($0.utf8) }
                guard found.count < values.count else { return .taken }
                defaults.options[keyPath: path] = [[]]
                return .refused(expected: "texts")
            },
            show: {
                .array($0[keyPath: path].map { .string(String(decoding: $0, as: UTF8.self)) })
            })
    }
}
