import CUnsay
import Decoding
import Models
import Support
import T5
import Tensors
import Training

/// What a report looks at besides the session itself.
package struct ReportOptions {
    package var title = "A patch"
    /// What outputs are written for, before and after.
    package var inputs: [[Int32]] = []
    package var generate = GenerateOptions()
    /// Whether an output shows the unwanted behaviour; nil: nobody can tell.
    package var detect: ((_ input: Int, _ text: [UInt8]) throws -> Bool)?

    package init() {}
}

/// What a patch did, in figures and in outputs side by side.
package struct Report: Sendable {
    /// An output that the patch changed.
    package struct Change: Sendable {
        /// Among the report's inputs.
        let input: Int
        let inputText: String
        let before: String
        let after: String
        /// The first token that differs, and both spellings of it; empty where an output ended.
        let position: Int
        let tokenBefore: String
        let tokenAfter: String
        /// KL(original ‖ trained) where they part, nats.
        let kl: Double
        /// nil without a detector.
        let shownBefore: Bool?
        let shownAfter: Bool?
    }

    package struct TensorChange: Sendable {
        let name: String
        /// L2 norms.
        let change: Double
        let weight: Double
    }

    let title: String
    let metadata: JSON
    let evaluation: Evaluation
    /// Of every evaluation since the session began.
    let history: [Measurement]
    let outputs: Int
    /// Outputs that show the behaviour; nil without a detector.
    let shownBefore: Int?
    let shownAfter: Int?
    let changes: [Change]
    /// The weights that differ, the largest change first.
    let tensors: [TensorChange]

    /// Everything as one JSON object; docs/patching.md names its members.
    package var json: JSON {
        func count(_ value: Int?) -> JSON { value.map { .number(Double($0)) } ?? .null }
        func flag(_ value: Bool?) -> JSON { value.map(JSON.bool) ?? .null }
        return .object([
            "title": .string(title),
            "session": metadata,
            "evaluation": evaluation.json,
            "history": .array(history.map(\.json)),
            "outputs": count(outputs),
            "changed": count(changes.count),
            "shown_before": count(shownBefore),
            "shown_after": count(shownAfter),
            "changes": .array(
                changes.map {
                    .object([
                        "index": count($0.input), "input": .string($0.inputText),
                        "before": .string($0.before), "after": .string($0.after),
                        "position": count($0.position), "token_before": .string($0.tokenBefore),
                        "token_after": .string($0.tokenAfter), "kl": .number($0.kl),
                        "shown_before": flag($0.shownBefore), "shown_after": flag($0.shownAfter),
                    ])
                }),
            "tensors": .array(
                tensors.map {
                    .object([
                        "name": .string($0.name), "change": .number($0.change),
                        "weight": .number($0.weight),
                    ])
                }),
        ])
    }
}

extension Session {
    /// Writes outputs with the original and with the trained weights and compares them.
    package func report(_ options: ReportOptions) throws -> Report {
        try exclusively {
            _ = try prepare(needsExamples: false)
            let evaluation = try measure()
            let first = try Model(cloning: model, weights: original)
            let second = try Model(cloning: model, weights: trainedSnapshot())
            let before = try generate(first, options.inputs, options.generate).hypotheses
            try stopIfCancelled()
            let after = try generate(second, options.inputs, options.generate).hypotheses
            let pairs = zip(before, after).map { ($0[0], $1[0]) }
            func shown(_ hypotheses: [Hypothesis]) throws -> [Bool]? {
                guard let detect = options.detect else { return nil }
                return try hypotheses.enumerated().map { try detect($0.offset, $0.element.text) }
            }
            let shownBefore = try shown(pairs.map(\.0)), shownAfter = try shown(pairs.map(\.1))
            return Report(
                title: options.title, metadata: try metadata, evaluation: evaluation,
                history: history,
                outputs: pairs.count, shownBefore: shownBefore?.count { $0 },
                shownAfter: shownAfter?.count { $0 },
                changes: try changes(pairs, options.inputs, shownBefore, shownAfter),
                tensors: try changedTensors())
        }
    }

    private func changes(
        _ pairs: [(Hypothesis, Hypothesis)], _ inputs: [[Int32]], _ shownBefore: [Bool]?,
        _ shownAfter: [Bool]?
    ) throws -> [Report.Change] {
        var changes: [Report.Change] = []
        for (index, (before, after)) in pairs.enumerated() where before.ids != after.ids {
            let position = zip(before.ids, after.ids).prefix { $0 == $1 }.count
            func piece(_ ids: [Int32]) -> String {
                guard ids.indices.contains(position) else { return "" }
                let piece = model.tokenizer?.piece(ids[position])
                return piece.map { String(cString: $0) } ?? "<\(ids[position])>"
            }
            changes.append(
                Report.Change(
                    input: index,
                    inputText: String(decoding: try model.decode(inputs[index]), as: UTF8.self),
                    before: String(decoding: before.text, as: UTF8.self),
                    after: String(decoding: after.text, as: UTF8.self), position: position,
                    tokenBefore: piece(before.ids), tokenAfter: piece(after.ids),
                    kl: try kl(inputs[index], before.ids, after.ids, at: position),
                    shownBefore: shownBefore?[index], shownAfter: shownAfter?[index]))
        }
        return changes
    }

    /// How far the two models are apart after what both wrote.
    private func kl(
        _ input: [Int32], _ before: [Int32], _ after: [Int32], at position: Int
    ) throws -> Double {
        let ids = before.count > position ? before : after
        let example = Example(
            input: input,
            targets: ids[...position].enumerated().map {
                TokenTarget(id: $0.element, mark: $0.offset == position ? 1 : 0)
            })
        let trainer = try ready().trainer
        try keepStates(
            of: [example], original.network, in: \.original, trainer.pass, between: stopIfCancelled)
        var kl = 0.0
        try trainer.compareMarked(
            [example], \.original, head: original.network.head, between: stopIfCancelled
        ) { kl = $1.kl }
        return kl
    }

    private func changedTensors() throws -> [Report.TensorChange] {
        let largest = start.layout.parameters.map(\.count).max() ?? 0
        let old = try FloatBuffer(count: largest), new = try FloatBuffer(count: largest)
        var found: [Report.TensorChange] = []
        for (index, parameter) in start.layout.parameters.enumerated() {
            let before = UnsafeMutableBufferPointer(start: old.base, count: parameter.count)
            let after = UnsafeMutableBufferPointer(start: new.base, count: parameter.count)
            start.read(index, into: before)
            readTrained(index, into: after)
            var change = 0.0, weight = 0.0
            for i in before.indices {
                let difference = Double(after[i]) - Double(before[i])
                change += difference * difference
                weight += Double(before[i]) * Double(before[i])
            }
            // A weight that is no number any more has changed by more than any other.
            if change.isNaN { change = .infinity }
            if change > 0 {
                found.append(
                    Report.TensorChange(
                        name: parameter.name, change: change.squareRoot(),
                        weight: weight.squareRoot()))
            }
        }
        return found.sorted { $0.change > $1.change }
    }
}
