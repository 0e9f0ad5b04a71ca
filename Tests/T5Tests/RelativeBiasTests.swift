import T5
import Testing

@Suite("Relative position buckets")
struct RelativeBiasTests {
    // From T5Attention._relative_position_bucket of transformers 4.57, float32.
    @Test("as transformers computes them, both ways")
    func bidirectional() {
        let positions = [-200, -128, -127, -64, -32, -16, -9, -8, -7, -1, 0, 1, 7, 8, 16, 100, 500]
        let expected = [15, 15, 15, 14, 12, 10, 8, 8, 7, 1, 0, 17, 23, 24, 26, 31, 31]
        #expect(
            positions.map {
                relativePositionBucket($0, bidirectional: true, buckets: 32, maxDistance: 128)
            } == expected)
    }

    @Test("as transformers computes them, backwards only")
    func causal() {
        let positions = [5, 0, -1, -15, -16, -17, -31, -32, -64, -100, -127, -128, -500]
        let expected = [0, 0, 1, 15, 16, 16, 21, 21, 26, 30, 31, 31, 31]
        #expect(
            positions.map {
                relativePositionBucket($0, bidirectional: false, buckets: 32, maxDistance: 128)
            } == expected)
    }
}
