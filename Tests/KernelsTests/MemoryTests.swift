import CUnsay
import Support
import Tensors
import Testing

@Suite("Memory")
struct MemoryTests {
    @Test("memory that cannot be had is an error that names its size")
    func tooLarge() {
        for count in [Int.max, Int.max / 8, 1 << 50] {
            let failure = #expect(throws: Failure.self) { try FloatBuffer(count: count) }
            #expect(failure?.status == UNSAY_E_MEMORY)
            #expect(failure?.sentence.contains("\(count)") == true, "\(failure?.sentence ?? "")")
        }
        #expect(throws: Failure.self) { try Arena().rows(1 << 40, 1 << 40) }
        #expect(throws: Failure.self) { try PackedMatrix(outputs: 1 << 40, inputs: 1 << 40) }
    }

    @Test("an empty buffer is fine")
    func empty() throws {
        #expect(try FloatBuffer(count: 0).count == 0)
    }

    @Test("after the first, a repeated pass gets the same memory, in one piece, aligned")
    func arena() throws {
        let arena = Arena()
        func pass() throws -> [Rows] {
            arena.reset()
            return [try arena.rows(3, 5), try arena.rows(1, 3_000_000), try arena.rows(7, 1)]
        }
        _ = try pass()
        let first = try pass(), second = try pass()
        for (a, b) in zip(first, second) {
            #expect(a.base == b.base)
            #expect(UInt(bitPattern: a.base) % 64 == 0)
        }
        let peak = arena.peakBytes
        #expect(peak == (16 + 3_000_000 + 16) * 4)
        try arena.reserve(bytes: 20_000_000)
        #expect(try arena.rows(1, 4_900_000).base == arena.rows(0, 0).base - 4_900_000)

        let mark = arena.mark()
        let third = try arena.rows(2, 2, zeroed: true)
        #expect(third[1].allSatisfy { $0 == 0 })
        arena.rewind(to: mark)
        #expect(try arena.rows(2, 2).base == third.base)
    }

    @Test("a ragged batch knows its rows")
    func ragged() {
        let batch = Ragged(lengths: [3, 0, 4])
        #expect(batch.count == 3 && batch.total == 7 && batch.longest == 4)
        #expect(batch.range(0) == 0..<3 && batch.range(1) == 3..<3 && batch.range(2) == 3..<7)
        #expect(Ragged(lengths: []).total == 0)
    }
}
