import CUnsay
import Decoding
import Models
import Patching
import Support
import T5
import Testing
import Training

private let inputs: [[Int32]] = [
    [5, 9, 33, 12, 1], [7, 8, 1], [21, 22, 23, 24, 25, 26, 1], [14, 3, 99, 1], [40, 41, 42, 1],
    [61, 5, 17, 80, 1],
]

/// What the model writes for `inputs`, with the first token of the first `avoided` to avoid.
private func examples(_ model: Model, avoided: Int) throws -> [Example] {
    var options = GenerateOptions()
    options.maxNewTokens = 6
    let outputs = try generate(model, inputs, options).hypotheses.map { $0[0] }
    return zip(inputs, outputs).enumerated().map { index, pair in
        Example(
            input: pair.0,
            targets: pair.1.ids.enumerated().map {
                TokenTarget(id: $0.element, mark: $0.offset == 0 && index < avoided ? -1 : 1)
            })
    }
}

private func options(_ change: (inout SessionOptions) -> Void = { _ in }) -> SessionOptions {
    var options = SessionOptions()
    options.scope = UNSAY_SCOPE_ALL
    options.alpha = 1
    options.batchSize = 8
    options.learningRate = 3e-3
    options.maxGuardKL = 10
    options.maxGuardFlips = 1
    change(&options)
    return options
}

private func limits(_ maxSteps: Int, every: Int) -> RunOptions {
    var run = RunOptions()
    run.maxSteps = maxSteps
    run.evaluateEvery = every
    return run
}

@Suite("Sessions")
struct SessionTests {
    @Test("training unsays what is avoided, and a commit makes it the model's")
    func story() throws {
        let model = try tinyModel()
        let session = try Session(model, reference: nil, options: options())
        let all = try examples(model, avoided: 3)
        try session.add(Array(all[..<5]))
        try session.addGuard(Array(all[5...]))
        let before = model.snapshot

        let ending = try session.run(limits(200, every: 5)) { _ in true }
        #expect(ending == .goal)
        let evaluation = try session.evaluate()
        #expect(evaluation.avoidPAfter < 0.01, "from \(evaluation.avoidPBefore)")
        #expect(evaluation.avoidPBefore > evaluation.avoidPAfter)
        #expect(model.snapshot === before)

        try session.commit()
        #expect(model.snapshot !== before)
        var once = GenerateOptions()
        once.maxNewTokens = 1
        let after = try generate(model, Array(inputs[..<3]), once).hypotheses.map { $0[0] }
        for (index, hypothesis) in after.enumerated() {
            #expect(hypothesis.ids[0] != all[index].targets[0].id, "input \(index)")
        }
    }

    @Test("rolling back returns to the same bits, and the same steps follow again")
    func rollback() throws {
        let model = try tinyModel()
        let session = try Session(model, reference: nil, options: options { $0.batchSize = 2 })
        try session.add(try examples(model, avoided: 2))
        let original = try session.fingerprint()
        let first = try (0..<4).map { _ in try session.step().loss }
        let trained = try session.fingerprint()
        #expect(trained != original)
        try session.rollback()
        #expect(try session.fingerprint() == original)
        #expect(try (0..<4).map { _ in try session.step().loss } == first)
        #expect(try session.fingerprint() == trained)
    }

    @Test("the number of threads changes no bit of a trained weight")
    func threads() throws {
        let fingerprints = try [1, 2, 3].map { threads in
            let model = try tinyModel(threads: threads)
            let session = try Session(model, reference: nil, options: options())
            try session.add(try examples(model, avoided: 3))
            for _ in 0..<3 { _ = try session.step() }
            return try session.fingerprint()
        }
        #expect(fingerprints[1] == fingerprints[0])
        #expect(fingerprints[2] == fingerprints[0])
    }

    @Test("micro-batches give the step of the whole batch")
    func microBatches() throws {
        let losses = try [0, 1, 4].map { size in
            let model = try tinyModel()
            let session = try Session(
                model, reference: nil, options: options { $0.microBatchSize = size })
            try session.add(try examples(model, avoided: 3))
            return try (0..<5).map { _ in try session.step().loss }
        }
        for other in losses[1...] {
            for (whole, parts) in zip(losses[0], other) {
                #expect(abs(whole - parts) <= 1e-4 * abs(whole), "\(whole) against \(parts)")
            }
        }
    }

    @Test("a guard that breaks returns the weights to the last good ones")
    func guardBreaks() throws {
        let model = try tinyModel()
        let session = try Session(
            model, reference: nil, options: options { $0.maxGuardKL = 1e-7 })
        let all = try examples(model, avoided: 3)
        try session.add(Array(all[..<5]))
        try session.addGuard(Array(all[5...]))
        let original = try session.fingerprint()
        #expect(try session.run(limits(50, every: 5)) { _ in true } == .guardrail)
        #expect(try session.fingerprint() == original)
    }

    @Test("a commit that the guard refuses changes nothing")
    func refused() throws {
        let model = try tinyModel()
        let session = try Session(
            model, reference: nil, options: options { $0.maxGuardKL = 1e-7 })
        let all = try examples(model, avoided: 3)
        try session.add(Array(all[..<5]))
        try session.addGuard(Array(all[5...]))
        for _ in 0..<5 { _ = try session.step() }
        let before = model.snapshot
        #expect { try session.commit() } throws: { ($0 as? Failure)?.status == UNSAY_E_GUARD }
        #expect(model.snapshot === before)
    }

    @Test("of two sessions the second to commit is told that the model has changed")
    func stale() throws {
        let model = try tinyModel()
        let all = try examples(model, avoided: 3)
        let sessions = try (0..<2).map { _ in
            let session = try Session(model, reference: nil, options: options())
            try session.add(all)
            _ = try session.step()
            return session
        }
        try sessions[0].commit()
        #expect { try sessions[1].commit() } throws: {
            ($0 as? Failure)?.status == UNSAY_E_STATE
        }
    }

    @Test("running before any example, and using a session twice at once, are refused")
    func misuse() throws {
        let model = try tinyModel()
        let session = try Session(model, reference: nil, options: options())
        #expect { try session.step() } throws: { ($0 as? Failure)?.status == UNSAY_E_STATE }
        try session.add(try examples(model, avoided: 1))
        var status = UNSAY_OK
        _ = try session.run(limits(1, every: 1)) { _ in
            do { _ = try session.step() } catch { status = (error as? Failure)?.status ?? UNSAY_OK }
            return true
        }
        #expect(status == UNSAY_E_BUSY)
    }

    @Test(
        "cancelling stops the run and leaves the weights of the last whole step",
        arguments: [Float(0), 1])
    func cancel(gradientClip: Float) throws {
        let model = try tinyModel()
        func started() throws -> Session {
            let session = try Session(
                model, reference: nil, options: options { $0.gradientClip = gradientClip })
            try session.add(try examples(model, avoided: 1))
            return session
        }
        let whole = try started()
        for _ in 0..<3 { _ = try whole.step() }
        let session = try started()
        #expect {
            _ = try session.run(limits(100, every: 100)) { report in
                if report.step == 3 { session.cancel() }
                return true
            }
        } throws: { ($0 as? Failure)?.status == UNSAY_E_CANCELLED }
        #expect(session.steps == 3)
        let left = try session.fingerprint()
        #expect(left == (try whole.fingerprint()), "after \(session.steps) steps")
        _ = try whole.step()
        #expect(left != (try whole.fingerprint()), "a fourth step changes something")
    }

    @Test("a model whose weights are not finite meets no goal, and the weight is named")
    func notFinite() throws {
        let tiny = try tinyModel()
        let weights = try tiny.weights()
        let poisoned = try WeightsSnapshot(
            tiny.layout, tiny.configuration, workers: tiny.workers
        ) { index, values in
            weights.read(index, into: values)
            if index == 1 { values[0] = .nan }
        }
        let model = try Model(cloning: tiny, weights: poisoned)
        let session = try Session(model, reference: nil, options: options { $0.maxAvoidP = 1 })
        let all = try examples(tiny, avoided: 2)
        try session.add(Array(all[..<4]))
        try session.addGuard(Array(all[4...]))
        let calls: [() throws -> Void] = [
            { _ = try session.run(limits(5, every: 1)) { _ in true } },
            { _ = try session.evaluate() }, { _ = try session.plan() },
            { _ = try session.step() }, { try session.commit() },
        ]
        let name = tiny.layout.parameters[1].name
        for call in calls {
            let failure = #expect(throws: Failure.self) { try call() }
            #expect(failure?.status == UNSAY_E_DIVERGED)
            let sentence = failure?.sentence ?? ""
            #expect(sentence.contains("the model's own \(name) is not finite"), "\(sentence)")
        }
    }

    @Test("every option out of range is refused by name")
    func ranges() throws {
        let wrong: [(String, (inout SessionOptions) -> Void)] = [
            ("batch_size", { $0.batchSize = 0 }), ("alpha", { $0.alpha = -1 }),
            ("retain", { $0.retain = 1.5 }), ("learning_rate", { $0.learningRate = .nan }),
            ("max_avoid_p", { $0.maxAvoidP = 2 }), ("gradient_clip", { $0.gradientClip = -1 }),
            ("max_guard_kl", { $0.maxGuardKL = .nan }), ("max_root_kl", { $0.maxRootKL = .nan }),
        ]
        for (name, change) in wrong {
            #expect { try options(change).validate() } throws: {
                ($0 as? Failure)?.status == UNSAY_E_ARGUMENT
                    && ($0 as? Failure)?.sentence.hasPrefix(name) == true
            }
        }
    }
}
