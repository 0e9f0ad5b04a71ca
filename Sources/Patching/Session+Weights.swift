import CUnsay
import Models
import Support
import T5
import Tensors
import Training

/// Which step's weights a session holds.
struct WeightsOrigin: Equatable {
    /// Optimizer steps before them; 0 for those that the session began with.
    var step = 0
    /// How much of the way from the best weights of a run to those of that step was gone; 1 for
    /// all of it.
    var fraction = 1.0
}

/// A copy of trained weights to go back to.
struct KeptWeights {
    let values: FloatBuffer
    var origin: WeightsOrigin
    /// What was measured on them; nil where nothing was.
    var evaluation: Evaluation?
}

/// The weights that a session holds: kept, gone back to, and never let out unless finite.
extension Session {
    /// Copies the weights as they are now.
    ///
    /// - Parameter values: overwritten, if it has their size; nil to allocate.
    func keptWeights(_ training: Training, in values: FloatBuffer? = nil) throws -> KeptWeights {
        let count = training.values.count
        let copy =
            if let values, values.count == count { values } else { try FloatBuffer(count: count) }
        copy.base.update(from: training.values.base, count: count)
        return KeptWeights(values: copy, origin: origin, evaluation: lastEvaluation)
    }

    /// Returns to weights that were kept since the last example was added, if they come with an
    /// evaluation. The optimizer begins anew.
    func restore(_ kept: KeptWeights, _ training: Training) {
        training.values.base.update(from: kept.values.base, count: kept.values.count)
        training.trainer.publish()
        training.optimizer.reset()
        (origin, lastEvaluation, isMoving) = (kept.origin, kept.evaluation, false)
    }

    /// Returns to the weights before the last step, which gave a finite loss and finite gradients;
    /// where nobody kept them, to those that the session began with.
    func goBack(_ training: Training) {
        if var lastGood {
            // Examples may have been added since.
            lastGood.evaluation = nil
            self.lastGood = nil
            return restore(lastGood, training)
        }
        training.trainer.weights.reset(seed: options.seed)
        training.trainer.publish()
        training.optimizer.reset()
        (origin, lastEvaluation, isMoving) = (WeightsOrigin(), nil, false)
    }

    // MARK: Finite or not

    /// What went wrong at a step, and the first weight or gradient that is not finite.
    ///
    /// - Parameters:
    ///   - found: for example "the loss is nan".
    ///   - part: gradients to look at besides those that the trainer holds whole.
    func divergence(
        _ found: String, step: Int, _ training: Training, part: Gradients.Part? = nil
    ) throws -> Failure {
        if let own = try originalNotFinite() {
            return Failure(
                UNSAY_E_DIVERGED, "step \(step): \(found), for the model's own \(own) is not finite"
            )
        }
        let trainer = training.trainer
        let weights = trainer.weights
        var culprit = weights.firstNotFinite(workers: model.workers)?.name
        if culprit == nil {
            let parts =
                part.map { [$0] } ?? (trainer.gradients.isWhole ? trainer.gradients.parts : [])
            culprit = parts.lazy.compactMap { $0.firstNotFinite(weights.layout)?.name }.first
                .map { "the gradient of \($0)" }
        }
        let cause = culprit.map { "; \($0) is not finite" } ?? ""
        return Failure(
            UNSAY_E_DIVERGED, "step \(step): \(found)\(cause): lower the learning rate")
    }

    /// The first weight of the model itself that is not finite.
    private func originalNotFinite() throws -> String? {
        let parameters = original.layout.parameters
        let room = try FloatBuffer(count: parameters.map(\.count).max() ?? 0)
        for (index, parameter) in parameters.enumerated() {
            let values = UnsafeMutableBufferPointer(start: room.base, count: parameter.count)
            original.read(index, into: values)
            if !allFinite(UnsafeBufferPointer(values)) { return parameter.name }
        }
        return nil
    }

    /// - Throws: `UNSAY_E_DIVERGED` naming a trained weight that is not finite.
    func requireFinite(_ training: Training) throws {
        if let weight = training.trainer.weights.firstNotFinite(workers: model.workers) {
            throw notFinite(weight.name)
        }
    }

    /// Writes weight `index` as it is now, factors merged.
    ///
    /// - Throws: `UNSAY_E_DIVERGED` if it is trained and not finite, which finite factors may
    ///   have made it.
    func readFinite(_ index: Int, into values: UnsafeMutableBufferPointer<Float>) throws {
        readTrained(index, into: values)
        guard changesWhole(index), !allFinite(UnsafeBufferPointer(values)) else { return }
        throw notFinite(start.layout.parameters[index].name)
    }

    private func notFinite(_ name: String) -> Failure {
        Failure(
            UNSAY_E_DIVERGED,
            "\(name) is not finite after step \(origin.step): neither committed nor written")
    }
}
