import CUnsay
import Models
import T5
import Tensors
import Testing
import Training

@testable import Patching

@Suite("Memory of a training pass")
struct PassMemoryTests {
    /// A model of some size, its weights all alike: memory alone counts.
    private func snapshot(isGated: Bool) throws -> WeightsSnapshot {
        var c = T5Configuration()
        c.vocabSize = 2000
        c.dModel = 128
        c.dKV = 32
        c.numHeads = 4
        c.dFF = 384
        c.numLayers = 3
        c.numDecoderLayers = 3
        c.isGated = isGated
        c.tiesHead = !isGated
        return try WeightsSnapshot(ParameterLayout(c), c, workers: Workers(threads: 1)) {
            $1.update(repeating: $0 % 2 == 0 ? 0.01 : 0.02)
        }
    }

    private func batch(sources: Int, targets: Int) -> Batch {
        Batch(
            (0..<6).map { index in
                Example(
                    input: (0..<sources).map { Int32(3 + ($0 * 7 + index) % 1900) },
                    targets: (0..<targets).map {
                        TokenTarget(id: Int32(3 + $0 * 3), mark: $0 == 0 ? -1 : 1)
                    })
            }, decoderStart: 0)
    }

    @Test(
        "is predicted within a few percent",
        arguments: [Scope.all, .decoder, .crossAttention, .tokens([3])], [false, true])
    func prediction(scope: Scope, recomputes: Bool) throws {
        for (isGated, rank, dropout) in [(false, 0, Float(0)), (true, 0, 0.1), (true, 4, 0)] {
            if case .tokens = scope, rank > 0 { continue }
            for (sources, targets) in [(100, 20), (20, 70)] {
                var snapshot = try snapshot(isGated: isGated)
                if case .tokens = scope { snapshot = snapshot.withOwnHead }
                let trainer = try Trainer(
                    snapshot,
                    layout: TrainedLayout(snapshot.layout, scope: scope, rank: rank, alpha: 1),
                    reference: snapshot,
                    settings: LossSettings(
                        columns: LossColumns(UNSAY_LOSS_FF, UNSAY_LOSS_EXACT), alpha: 1, retain: 0,
                        zLoss: 0),
                    options: TrainerOptions(dropout: dropout, recomputes: recomputes, seed: 0),
                    workers: Workers(threads: 1))
                trainer.publish()
                let batch = batch(sources: sources, targets: targets)
                for example in batch.examples {
                    let kept = try FloatBuffer(count: example.marked.count * 128, zeroed: true)
                    example.reference = kept
                    example.original = kept
                }
                // One slab, as sessions have it: its peak is that of all passes, the first
                // included, which sees all logits where rows alone are trained.
                let bytes = trainer.passBytes(batch)
                try trainer.reserve(bytes: bytes + bytes / 32)
                for _ in 0..<3 {
                    _ = try trainer.accumulate(
                        batch, normaliser: 1, keys: Array(0..<6), between: {})
                }
                let predicted = Double(trainer.passBytes(batch))
                let measured = Double(trainer.peakBytes)
                #expect(
                    abs(predicted / measured - 1) < 0.06,
                    "\(scope) gated \(isGated) rank \(rank) \(sources)/\(targets): predicted \(predicted / 1e6) MB, measured \(measured / 1e6)"
                )
            }
        }
    }
}
