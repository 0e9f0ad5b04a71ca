import CUnsay
import Models
import Support
import T5
import Training

extension Session {
    /// A session that does what a delta did, on a model that the delta does not fit: its
    /// options, its examples, held-out examples and guard. It is not run yet.
    ///
    /// The model as it is now is its reference, and its root if the delta had one: the delta
    /// carries no models.
    ///
    /// - Throws: `UNSAY_E_STATE` if the delta does not carry its examples;
    ///   `UNSAY_E_FORMAT` if they are damaged; `UNSAY_E_ARGUMENT` if the model lacks an id.
    package convenience init(rebasing delta: Delta, on model: Model) throws {
        guard let kept = delta.metadata["examples"]?.array else {
            throw Failure(
                UNSAY_E_STATE,
                "the delta does not carry its examples: only those of sessions with "
                    + "keep_examples do")
        }
        func examples(_ json: [JSON], _ name: String) throws -> [Example] {
            try json.enumerated().map {
                try Example($0.element, model, named: "\(name)[\($0.offset)]")
            }
        }
        try self.init(
            model, reference: nil, root: delta.metadata["root"] == nil ? nil : model,
            options: SessionOptions(delta.metadata))
        try add(examples(kept, "examples"))
        try addHeldOut(examples(delta.metadata["held_out"]?.array ?? [], "held_out"))
        try addGuard(examples(delta.metadata["guard"]?.array ?? [], "guard"))
    }
}

extension SessionOptions {
    /// Those that a delta's metadata names; defaults for the rest, which an older library has not
    /// written.
    fileprivate init(_ json: JSON) throws {
        self.init()
        func number(_ name: String, _ target: inout Float) {
            // Only a limit that is infinite is written as null.
            if json[name] == .null { target = .infinity }
            if let value = json[name]?.double { target = Float(value) }
        }
        func number(_ name: String, _ target: inout Int) {
            // checked: by `validate`, when the session is made
            if let value = json[name]?.int { target = value }
        }
        func choice(_ name: String, of names: [String]) -> UInt32? {
            json[name]?.string.flatMap { names.firstIndex(of: $0) }.map { UInt32($0) }
        }
        if let value = choice("loss", of: Self.losses) { loss = unsay_loss(value) }
        if json["form"]?.string == "published" { form = UNSAY_LOSS_PUBLISHED }
        if let value = choice("optimizer", of: Self.optimizers) {
            optimizer = unsay_optimizer(value)
        }
        if json["schedule"]?.string == "inverse_sqrt" { schedule = UNSAY_SCHEDULE_INVERSE_SQRT }
        if let value = choice("scope", of: Self.scopes) { scope = unsay_scope(value) }
        if json["compute"]?.string == "bf16" { precision = .bf16 }
        tensors = json["tensors"]?.array?.compactMap(\.string) ?? []
        recompute = json["recompute"]?.bool ?? false
        number("lora_rank", &loraRank)
        number("lora_alpha", &loraAlpha)
        number("batch_size", &batchSize)
        number("micro_batch_size", &microBatchSize)
        number("warmup_steps", &warmupSteps)
        number("decay_steps", &decaySteps)
        number("alpha", &alpha)
        number("retain", &retain)
        number("learning_rate", &learningRate)
        number("momentum", &momentum)
        number("weight_decay", &weightDecay)
        number("z_loss", &zLoss)
        number("dropout", &dropout)
        number("gradient_clip", &gradientClip)
        number("max_avoid_p", &maxAvoidP)
        number("max_guard_kl", &maxGuardKL)
        number("max_guard_flips", &maxGuardFlips)
        number("max_root_kl", &maxRootKL)
        if let value = json["seed"]?.string.flatMap(UInt64.init) { seed = value }
        keepsExamples = true
    }
}

extension Example {
    /// Ids, marks and the rest as one JSON object.
    var json: JSON {
        func numbers(_ values: [some BinaryInteger]) -> JSON {
            .array(values.map { .number(Double($0)) })
        }
        let pairs = targets.enumerated().flatMap { position, target in
            target.alsoAvoid.map { numbers([Int32(position), $0]) }
        }
        return .object([
            "input": numbers(input), "output": numbers(targets.map(\.id)),
            "marks": numbers(targets.map(\.mark)), "also_avoid": .array(pairs),
            "weight": .number(Double(targets.first?.weight ?? 1)),
        ])
    }

    fileprivate convenience init(_ json: JSON, _ model: Model, named name: String) throws {
        func damaged() -> Failure {
            Failure(UNSAY_E_FORMAT, "the delta's metadata is damaged: \(name) is no example")
        }
        func ids(_ key: String) throws -> [Int32] {
            guard let values = json[key]?.array, !values.isEmpty else { throw damaged() }
            return try values.map {
                guard let id = $0.int.flatMap(Int32.init(exactly:)) else { throw damaged() }
                try model.check(id, of: "\(name).\(key)")
                return id
            }
        }
        let output = try ids("output")
        let marks = json["marks"]?.array?.compactMap { $0.int.flatMap(Int8.init(exactly:)) } ?? []
        let pairs = try (json["also_avoid"]?.array ?? []).map { pair in
            let numbers = pair.array?.compactMap(\.int) ?? []
            guard numbers.count == 2, output.indices.contains(numbers[0]),
                let id = Int32(exactly: numbers[1])
            else { throw damaged() }
            return (position: numbers[0], id: id)
        }
        let weight = Float(json["weight"]?.double ?? 1)
        guard marks.count == output.count, marks.allSatisfy({ (-1...1).contains($0) }),
            weight > 0, weight.isFinite
        else { throw damaged() }
        try self.init(
            model, input: ids("input"), output: output, marks: marks,
            // An older library let ids be avoided at ignored places, to no effect.
            alsoAvoid: pairs.filter { marks[$0.position] != 0 }, weight: weight, named: name)
    }
}
