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
