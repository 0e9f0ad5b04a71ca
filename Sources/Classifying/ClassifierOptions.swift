import CUnsay
import Support

/// How a classifier is trained. Names and defaults as in `unsay_classifier_options`.
package struct ClassifierOptions: Sendable {
    package var passes = 40
    package var batchSize = 512
    package var maxIDs = 512
    package var learningRate: Float = 0.02
    package var weightDecay: Float = 1e-3
    package var seed: UInt64 = 0

    package init() {}

    /// - Throws: `UNSAY_E_ARGUMENT` naming the option as unsay.h does.
    package func validate() throws {
        let range = 1...Int(Int32.max)
        for (name, value) in [
            ("passes", passes), ("batch_size", batchSize), ("max_ids", maxIDs),
        ] where !range.contains(value) {
            throw Failure(UNSAY_E_ARGUMENT, "\(name) is \(value); it must be in \(range)")
        }
        guard learningRate > 0, learningRate.isFinite else {
            throw Failure(
                UNSAY_E_ARGUMENT, "learning_rate is \(learningRate); it must be above 0")
        }
        guard weightDecay >= 0, weightDecay.isFinite else {
            throw Failure(
                UNSAY_E_ARGUMENT, "weight_decay is \(weightDecay); it must be 0 or more")
        }
    }
}
