import CUnsay
import Glibc
import Tensors
import Testing
import Training

@Suite("Comparing two distributions")
struct ComparisonTests {
    private func compared(_ original: [Float], _ trained: [Float], _ ids: [Int32]) -> Comparison {
        var (original, trained) = (original, trained)
        var scratch = [Float](repeating: 0, count: original.count)
        return original.withUnsafeMutableBufferPointer { original in
            trained.withUnsafeMutableBufferPointer { trained in
                scratch.withUnsafeMutableBufferPointer {
                    compare(original: original, trained: trained, scratch: $0, ids: ids)
                }
            }
        }
    }

    @Test(
        "a price is exact from q near 0 to where q is 1 in every float",
        arguments: [-30, -3, 0, 0.6, 0.7, 1, 5, 10, 16, 17, 20, 40, 80] as [Float])
    func price(logit: Float) {
        // Two other tokens at 0: 1 - q is 2 / (e^z + 2), so the price is log(e^z / 2 + 1).
        let expected = log1p(exp(Double(logit)) / 2)
        let found = compared([logit, 0, 0], [0, 0, 0], [0]).price
        #expect(abs(found - expected) < 1e-6 * expected, "\(found), expected \(expected)")
    }

    @Test("several ids are unsaid at the price of their sum, each counted once")
    func prices() {
        // q is a quarter each: without two of them a half is left.
        let target = TokenTarget(id: 0, mark: -1, alsoAvoid: [2, 0, 2, 2])
        #expect(target.avoided == [0, 2])
        let found = compared([1, 1, 1, 1], [0, 0, 0, 0], target.avoided)
        #expect(abs(found.price - log(2)) < 1e-7, "\(found.price), expected \(log(2.0))")
        #expect(TokenTarget(id: 5, mark: 1, alsoAvoid: [7, 7, 6]).avoided == [7, 6])
    }

    @Test(
        "a NaN or an infinity on either side makes every measure NaN",
        arguments: [Float.nan, .infinity, -.infinity], [0, 5, 39])
    func notFinite(value: Float, place: Int) {
        let good = (0..<40).map { Float($0 % 7) }
        var bad = good
        bad[place] = value
        for (original, trained) in [(good, bad), (bad, good)] {
            let found = compared(original, trained, [3])
            #expect(found.kl.isNaN && found.price.isNaN)
            #expect(found.probabilities[0].before.isNaN && found.probabilities[0].after.isNaN)
        }
    }
}
