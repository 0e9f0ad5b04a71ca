/// Turns a growing list of ids into pieces of text that end on whole characters.
struct TextStream {
    /// Bytes handed out so far.
    private var count = 0

    /// - Parameters:
    ///   - ids: all ids so far.
    ///   - isLast: whether to hand out everything, finished or not.
    ///   - settledCount: how many bytes of a text no further id changes.
    /// - Returns: what the text has gained.
    mutating func extend(
        _ ids: [Int32], isLast: Bool, decode: ([Int32]) throws -> [UInt8],
        settledCount: ([UInt8]) -> Int
    ) throws -> [UInt8] {
        var text = try decode(ids)
        if !isLast {
            // A character that is spelled byte by byte shows as U+FFFD until it is complete.
            while text.suffix(3) == [0xEF, 0xBF, 0xBD] { text.removeLast(3) }
            text.removeLast(text.count - settledCount(text))
        }
        guard text.count > count else { return [] }
        defer { count = text.count }
        return Array(text[count...])
    }
}
