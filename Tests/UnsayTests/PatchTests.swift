import Foundation
import Testing
import Unsay

private let text = "summarize: a small library for reading files"
private let short = GenerateOptions { $0.maxNewTokens = 8 }

extension Output {
    /// Marks that avoid the first id.
    fileprivate var marks: [Mark] { [.avoid] + ids.dropFirst().map { _ in .keep } }
}

@Suite("Patching from Swift")
struct PatchTests {
    @Test("a patch lowers what is marked; rolled back and reverted, every bit is as before")
    func story() throws {
        let model = try tiny()
        let before = try model.fingerprint()
        let output = try model.generate(text, short)
        let patch = try model.patch(
            PatchOptions {
                $0.maxAvoidP = 1e-4
                $0.learningRate = 0.1
            })
        try patch.add(text, output, marks: output.marks)
        try patch.addHeldOut(text, output, marks: output.marks)
        let plan = try patch.plan()
        #expect(plan.avoidedCount == 1)
        #expect(plan.marks[0].id == output.ids[0])
        var steps = 0
        let ending = try patch.run(
            RunOptions {
                $0.maxSteps = 30; $0.evaluateEvery = 1
            }
        ) { _ in
            steps += 1
            return .continue
        }
        #expect(steps > 0)
        #expect(ending == .goal)
        let evaluation = try patch.evaluate()
        #expect(evaluation.avoidPAfter < evaluation.avoidPBefore)
        #expect(try model.fingerprint() == before)
        try patch.commit()
        #expect(try model.generate(text, short).ids[0] != output.ids[0])

        let report = try patch.report(inputs: [text], short) { _, written in written.isEmpty }
        #expect(report.json.contains("\"changed\":1"))
        #expect(report.html.contains("<title>A patch"))

        let delta = try patch.delta()
        #expect(model.applied == [delta.info])
        #expect(delta.metadata.contains("\"loss\""))
        try model.revert()
        #expect(try model.fingerprint() == before)
        try delta.apply(to: model)
        #expect(try model.fingerprint() == delta.info.after)
        try patch.rollback()
    }

    @Test("a patch that would break its guard is refused, and the model stays")
    func guarded() throws {
        let model = try tiny()
        let before = try model.fingerprint()
        let output = try model.generate(text, short)
        let patch = try model.patch(
            PatchOptions {
                $0.scope = .all; $0.learningRate = 0.05; $0.maxGuardKL = 1e-9
            })
        try patch.add(text, output, marks: output.marks)
        try patch.addGuard(text, output)
        try patch.step()
        #expect {
            try patch.commit()
        } throws: { ($0 as? Failure)?.status == .guard }
        #expect(try model.fingerprint() == before)
    }

    @Test("every option of a patch reaches the session, whose delta tells them")
    func options() throws {
        let model = try tiny()
        let (reference, root) = (try changed(1), try changed(2))
        let options = PatchOptions {
            $0.loss = .rll
            $0.form = .published
            $0.optimizer = .sgd
            $0.schedule = .inverseSqrt
            $0.scope = .tensors(["decoder.*"])
            $0.compute = .bf16
            $0.batchSize = 3
            $0.microBatchSize = 2
            $0.warmupSteps = 4
            $0.decaySteps = 5
            $0.alpha = 6
            $0.retain = 0.25
            $0.learningRate = 0.5
            $0.momentum = 0.75
            $0.weightDecay = 0.125
            $0.zLoss = 7
            $0.dropout = 0.0625
            $0.gradientClip = 8
            $0.maxAvoidP = 0.375
            $0.maxGuardKL = 9
            $0.maxGuardFlips = 0.625
            $0.maxRootKL = 11
            $0.recompute = true
            $0.loraRank = 2
            $0.loraAlpha = 10
            $0.seed = .max
            $0.keepExamples = true
            $0.reference = reference
            $0.root = root
        }
        func hexadecimal(_ model: Model) throws -> String {
            try model.fingerprint().map { String(format: "%02x", $0) }.joined()
        }
        let told = [
            #""loss":"rll""#, #""form":"published""#, #""optimizer":"sgd""#,
            #""schedule":"inverse_sqrt""#, #""scope":"tensors""#, #""tensors":["decoder.*"]"#,
            #""compute":"bf16""#, #""batch_size":3"#, #""micro_batch_size":2"#,
            #""warmup_steps":4"#, #""decay_steps":5"#, #""alpha":6"#, #""retain":0.25"#,
            #""learning_rate":0.5"#, #""momentum":0.75"#, #""weight_decay":0.125"#,
            #""z_loss":7"#, #""dropout":0.0625"#, #""gradient_clip":8"#, #""max_avoid_p":0.375"#,
            #""max_guard_kl":9"#, #""max_guard_flips":0.625"#, #""max_root_kl":11"#,
            #""recompute":true"#, #""lora_rank":2"#, #""lora_alpha":10"#,
            #""seed":"18446744073709551615""#, #""keep_examples":true"#,
            #""reference":"\#(try hexadecimal(reference))""#,
            #""root":"\#(try hexadecimal(root))""#,
        ]
        // None is left out here: each differs from its default.
        let properties = Mirror(reflecting: options).children
        let defaults = Mirror(reflecting: PatchOptions()).children
        for (property, usual) in zip(properties, defaults) {
            let value = "\(property.value)"
            #expect(value != "\(usual.value)", "\(property.label ?? ""): \(value)")
        }
        // And each is told, a scope of tensors twice: by its kind and by their names.
        #expect(properties.count + 1 == told.count)
        let metadata = try model.patch(options).delta().metadata
        for option in told {
            // A whole member of the object, not the beginning of one.
            let isThere = ["{", ","].contains { start in
                ["}", ","].contains { end in metadata.contains(start + option + end) }
            }
            #expect(isThere, "\(option) in \(metadata)")
        }
    }

    /// A model that differs a little.
    private func changed(_ seed: Int) throws -> Model {
        let model = try tiny()
        try model.finetune(
            [(input: text, output: "files")], steps: seed, PatchOptions { $0.learningRate = 1e-3 })
        return model
    }

    @Test("a commit of nothing says so, and an evaluation whose weights these are")
    func unchanged() throws {
        let model = try tiny()
        let output = try model.generate(text, short)
        let patch = try model.patch(PatchOptions { $0.maxAvoidP = 0 })
        try patch.add(text, output, marks: output.marks)
        #expect {
            try patch.commit()
        } throws: { ($0 as? Failure)?.status == .unchanged }
        #expect(try !patch.evaluate().changed)
        try patch.step()
        let evaluation = try patch.evaluate()
        #expect(evaluation.changed && evaluation.step == 1 && evaluation.fraction == 1)
        try patch.commit()
    }

    @Test("options of a patch and of a run out of range are refused by the names of unsay.h")
    func refused() throws {
        let model = try tiny()
        let cases: [(String, PatchOptions)] = [
            ("batch_size", PatchOptions { $0.batchSize = Int.max }),
            ("micro_batch_size", PatchOptions { $0.microBatchSize = -1 }),
            ("max_root_kl", PatchOptions { $0.maxRootKL = -1 }),
            ("tensor_count", PatchOptions { $0.scope = .tensors([]) }),
        ]
        for (name, options) in cases {
            #expect {
                _ = try model.patch(options)
            } throws: { "\($0)".contains(name) }
        }
        let output = try model.generate(text, short)
        let patch = try model.patch()
        try patch.add(text, output, marks: output.marks)
        let runs: [(String, RunOptions)] = [
            ("max_steps", RunOptions { $0.maxSteps = -1 }),
            ("evaluate_every", RunOptions { $0.evaluateEvery = 0 }),
            ("patience", RunOptions { $0.patience = -1 }),
            ("save_every", RunOptions { $0.saveEvery = 1 }),
            ("UNSAY_SELECT_LOSS", RunOptions { $0.select = .loss }),
        ]
        for (name, options) in runs {
            #expect {
                try patch.run(options)
            } throws: { "\($0)".contains(name) }
        }
    }

    @Test("a phrase that does not occur, and outputs that are the same, are refused")
    func nothing() throws {
        let model = try tiny()
        let output = try model.generate(text, short)
        let patch = try model.patch()
        #expect {
            try patch.add(text, output, avoid: ["unheard"])
        } throws: { "\($0)".contains("unheard") }
        #expect(throws: Failure.self) { try patch.add(text, output, better: output) }
        #expect(throws: Failure.self) { try patch.add(text, output, marks: [.avoid]) }
        #expect(throws: Failure.self) {
            try patch.add(text, output, alsoAvoid: [(position: 99, id: 5)])
        }
        #expect {
            let ignoring = [Mark.ignore] + output.marks.dropFirst()
            try patch.add(text, output, marks: ignoring, alsoAvoid: [(position: 0, id: 5)])
        } throws: { "\($0)".contains("also_avoid avoids 5 at position 0") }
        #expect {
            try patch.run()
        } throws: { ($0 as? Failure)?.status == .state }
    }

    @Test("spans, differences and converters mark what they mark in C")
    func marks() throws {
        let model = try tiny()
        let output = try model.encode("files and files").ids
        let spans = try model.marks(of: output, spans: [0..<5])
        #expect(spans.contains(.avoid) && spans.contains(.keep))
        #expect(throws: Failure.self) { try model.marks(of: output, spans: [0..<500]) }
        let other = try model.encode("files or files").ids
        #expect(try model.marks(of: output, better: other).contains(.avoid))
        #expect(try !model.marks(of: output, better: output).contains(.avoid))
        let made = try model.marks(of: output, corrected: other, Converter(.corrective, .full))
        #expect(made.usesCorrected)
        #expect(made.marks == other.map { _ in .keep })
    }

    @Test("gradients can be seen and stopped; a stopped step is cancelled")
    func gradients() throws {
        let model = try tiny()
        let output = try model.generate(text, short)
        let patch = try model.patch()
        try patch.add(text, output, marks: output.marks)
        var count = 0
        try patch.step { view in
            count = view.values.count
            return .continue
        }
        #expect(count > 0)
        #expect {
            try patch.step { _ in .stop }
        } throws: { ($0 as? Failure)?.status == .cancelled }
    }

    @Test("a sweep keeps the best of its trials; int8 is not for training")
    func sweep() throws {
        let model = try tiny()
        let output = try model.generate(text, short)
        let patch = try model.patch()
        try patch.add(text, output, marks: output.marks)
        let swept = try patch.sweep(
            learningRates: [1e-4, 1e-2],
            RunOptions {
                $0.maxSteps = 3; $0.evaluateEvery = 1
            })
        #expect(swept.trials.count == 2)
        #expect(swept.chosen == 1)
        #expect(throws: Failure.self) { try model.patch(PatchOptions { $0.compute = .int8 }) }
    }

    @Test("fine-tuning raises the likelihood of its pairs, and a clone stays as it was")
    func finetune() throws {
        let model = try tiny()
        let clone = try model.clone()
        let before = try model.score(text, "files").score
        try model.finetune(
            [(input: text, output: "files")], steps: 3, PatchOptions { $0.learningRate = 1e-2 })
        #expect(try model.score(text, "files").score > before)
        #expect(try clone.score(text, "files").score == before)
        #expect(throws: Failure.self) { try model.revert() }
    }
}
