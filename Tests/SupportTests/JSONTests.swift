import CUnsay
import Support
import Testing

private func parse(_ text: String) throws -> JSON { try parse(Array(text.utf8)) }

private func parse(_ bytes: [UInt8]) throws -> JSON {
    try bytes.withUnsafeBytes { try JSON(parsing: $0, named: "config.json") }
}

@Suite("JSON")
struct JSONTests {
    @Test("a document is read member by member")
    func members() throws {
        let json = try parse(#"{"d_model": 512, "rate": 1e-6, "tied": true, "names": ["é", null]}"#)
        #expect(json["d_model"]?.int == 512)
        #expect(json["rate"]?.double == 1e-6)
        #expect(json["tied"]?.bool == true)
        #expect(json["names"]?.array == [.string("é"), .null])
        #expect(json["absent"] == nil)
    }

    @Test(
        "only whole numbers in range are integers",
        arguments: [("32.0", 32), ("-7", -7), ("32.5", nil), ("1e300", nil), (#""32""#, nil)])
    func integers(text: String, value: Int?) throws {
        #expect(try parse(text).int == value)
    }

    @Test(
        "what is not strict JSON is refused by name and byte",
        arguments: [
            "", "{", "[1,]", "{\"a\":}", "nul", "[1] 2", "\"a\nb\"", "\"\\u0000\"", "1e999",
            String(repeating: "[", count: 100_000), "{\"a\" 1}", "\u{0}",
        ])
    func refused(text: String) {
        let failure = #expect(throws: Failure.self) { try parse(text) }
        #expect(failure?.status == UNSAY_E_FORMAT)
        #expect(failure?.sentence.hasPrefix("config.json: expected JSON") == true)
    }

    @Test("numbers that Python writes by name are read where asked for, and never in a string")
    func named() throws {
        let text = #"{"a": NaN, "b": [-Infinity, 1, Infinity], "NaN": "NaN \" Infinity"}"#
        let json = try Array(text.utf8).withUnsafeBytes {
            try JSON(parsingPython: $0, named: "config.json")
        }
        #expect(json["a"]?.double?.isNaN == true)
        #expect(json["b"] == .array([.number(-.infinity), .number(1), .number(.infinity)]))
        #expect(json["NaN"] == .string("NaN \" Infinity"))
        #expect(throws: Failure.self) { try parse(text) }
        #expect(throws: Failure.self) {
            try Array("[NaNs]".utf8).withUnsafeBytes { try JSON(parsingPython: $0, named: "") }
        }
    }

    @Test("invalid UTF-8 is refused at its first byte")
    func invalidText() {
        let failure = #expect(throws: Failure.self) { try parse([0x22, 0x61, 0xC3, 0x28, 0x22]) }
        #expect(failure?.sentence == "config.json: expected JSON, found invalid UTF-8 at byte 2")
    }

    @Test("128 levels are read, 129 refused")
    func depth() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        _ = try parse(nested(128))
        #expect(throws: Failure.self) { try parse(nested(129)) }
    }

    @Test("brackets inside strings do not nest")
    func brackets() throws {
        let text = String(repeating: "[{", count: 500)
        #expect(try parse("\"\(text)\"").string == text)
    }

    @Test("text reads back as the same value, and keys are sorted")
    func roundTrip() throws {
        let value = JSON.object([
            "b": .array([
                .number(0.1), .number(-0.0), .number(1e300), .number(9_007_199_254_740_992),
            ]),
            "a": .string("tab\t quote\" slash\\ bell\u{7} é 𝄞"), "c": .null, "d": .bool(false),
        ])
        #expect(try parse(value.text()) == value)
        #expect(JSON.object(["b": .number(2), "a": .number(1)]).text() == #"{"a":1,"b":2}"#)
        #expect(JSON.number(-0.0).text() == "-0.0")
    }
}
