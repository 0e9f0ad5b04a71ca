import CUnsay
import Models
import Support
import T5
import Training

extension Session {
    /// What the session has changed so far, committed or not.
    package func delta() throws -> Delta {
        try exclusively {
            let trained = trainer.weights
            return try Delta.make(
                layout: model.layout, before: { self.original.read($0, into: $1) },
                after: { _ = $1.update(from: trained.parameter($0)) },
                beforeFingerprint: model.fingerprint(of: original),
                afterFingerprint: trainedFingerprint(), metadata: metadata)
        }
    }

    /// The fingerprint of the trained weights as they are now.
    package func fingerprint() throws -> [UInt8] {
        try exclusively { try trainedFingerprint() }
    }

    private func trainedFingerprint() throws -> [UInt8] {
        let trained = trainer.weights
        return try Models.fingerprint(layout: model.layout) {
            _ = $1.update(from: trained.parameter($0))
        }
    }

    /// How the change came about: options, seed, digest of the examples, last evaluation.
    private var metadata: JSON {
        var fields: [String: JSON] = [
            "loss": .string(options.loss == UNSAY_LOSS_FF ? "ff" : "likelihood"),
            "form": .string("exact"),
            "optimizer": .string("adamw"),
            "batch_size": .number(Double(options.batchSize)),
            "alpha": .number(Double(options.alpha)),
            "retain": .number(Double(options.retain)),
            "learning_rate": .number(Double(options.learningRate)),
            "weight_decay": .number(Double(options.weightDecay)),
            "z_loss": .number(Double(options.zLoss)),
            "gradient_clip": .number(Double(options.gradientClip)),
            // A string: JSON's numbers do not hold every 64-bit integer.
            "seed": .string(String(options.seed)),
            "steps": .number(Double(steps)),
            "data_sha256": .string(hexadecimal(dataDigest)),
        ]
        if let evaluation = lastEvaluation {
            fields["evaluation"] = .object([
                "avoid_p_before": .number(evaluation.avoidPBefore),
                "avoid_p_after": .number(evaluation.avoidPAfter),
                "avoid_p_worst": .number(evaluation.avoidPWorst),
                "keep_kl": .number(evaluation.keepKL),
                "guard_kl": .number(evaluation.guardKL),
                "guard_flips": .number(evaluation.guardFlips),
            ])
        }
        return .object(fields)
    }
}

extension Delta {
    /// Puts the change on a model whose fingerprint is `before`.
    ///
    /// - Throws: `UNSAY_E_MISMATCH` for any other model; then nothing has changed.
    package func apply(to model: Model) throws {
        try change(model, from: before, to: after, "before")
    }

    /// Takes the change back from a model whose fingerprint is `after`.
    package func revert(from model: Model) throws {
        try change(model, from: after, to: before, "after")
    }

    private func change(
        _ model: Model, from: [UInt8], to: [UInt8], _ side: String
    ) throws {
        let snapshot = model.snapshot
        let found = try model.fingerprint(of: snapshot)
        guard found == from else {
            throw Failure(
                UNSAY_E_MISMATCH,
                "the delta belongs on weights \(hexadecimal(from.prefix(6)))... (its `\(side)`); "
                    + "the model's are \(hexadecimal(found.prefix(6)))...")
        }
        let read = try applied(to: { snapshot.read($0, into: $1) }, layout: model.layout)
        let next = try WeightsSnapshot(
            model.layout, model.configuration, workers: model.workers, read: read)
        guard try model.fingerprint(of: next) == to else {
            throw Failure(
                UNSAY_E_FORMAT, "the delta does not lead to the weights that it promises")
        }
        try model.replace(snapshot, with: next)
    }
}

private func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}
