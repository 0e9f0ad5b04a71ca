import Decoding
import Glibc
import Models
import Support
import Tensors
import Testing

@testable import Decoding

private let tests = #filePath.split(separator: "/", omittingEmptySubsequences: false)
    .dropLast(2).joined(separator: "/")

private func contents(_ path: String) throws -> [UInt8] {
    let file = try #require(fopen(path, "rb"))
    defer { fclose(file) }
    fseek(file, 0, SEEK_END)
    var bytes = [UInt8](repeating: 0, count: ftell(file))
    rewind(file)
    #expect(fread(&bytes, 1, bytes.count, file) == bytes.count)
    return bytes
}

@Suite("Filters of drawing")
struct SamplingFiltersTests {
    @Test("each leaves the probabilities that transformers leaves")
    func filters() throws {
        let bytes = try contents(tests + "/Goldens/decoding.json")
        let golden = try bytes.withUnsafeBytes { try JSON(parsing: $0, named: "decoding.json") }
        let filters = try #require(golden["filters"])
        let input = try #require(filters["input"]?.array).compactMap(\.int).map(Int32.init)
        let model = try Model(
            Checkpoint.open(folder: tests + "/Models/tiny-v10", allowLinks: false),
            tokenizerPath: nil, workers: Workers(threads: 1))
        var logits = [Float](repeating: 0, count: model.configuration.vocabSize)
        try logits.withUnsafeMutableBufferPointer {
            try Decoding.logits(model, input, [1], into: #require($0.baseAddress))
        }
        let options = try #require(filters["options"]?.array)
        let expected = try #require(filters["probabilities"]?.array)
        #expect(options.count == 9 && expected.count == 9)
        for (option, probabilities) in zip(options, expected) {
            var filters = SamplingFilters()
            func number(_ name: String, _ value: inout Float) {
                if let found = option[name]?.double { value = Float(found) }
            }
            number("temperature", &filters.temperature)
            number("top_p", &filters.topP)
            number("min_p", &filters.minP)
            number("typical_p", &filters.typicalP)
            number("epsilon_cutoff", &filters.epsilonCutoff)
            number("eta_cutoff", &filters.etaCutoff)
            filters.topK = option["top_k"]?.int ?? 0
            var values = logits
            values.withUnsafeMutableBufferPointer { filters.apply($0, keeping: 1) }
            let normalizer = values.withUnsafeMutableBufferPointer { logSumExp($0) }
            for (id, value) in values.enumerated() {
                let wanted = probabilities["\(id)"]?.double ?? 0
                let found = Double(exp(value - normalizer))
                #expect(
                    abs(found - wanted) < 1e-5, "id \(id) of \(option): \(found), not \(wanted)")
            }
        }
    }
}
