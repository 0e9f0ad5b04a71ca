/// How a phrase may be written before transformers' clean_up_tokenization takes spaces out.
///
/// - Returns: the phrase with and without each of those spaces; nil for more than 64 spellings.
package func uncleanedSpellings(of phrase: [Unicode.Scalar]) -> [[Unicode.Scalar]]? {
    let endings = [".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re"]
        .map { Array($0.unicodeScalars) }
    var spellings: [[Unicode.Scalar]] = [[]]
    for (index, scalar) in phrase.enumerated() {
        var choices: [[Unicode.Scalar]] = [[scalar]]
        if endings.contains(where: { phrase[index...].starts(with: $0) }) {
            choices.append([" ", scalar])
        }
        if scalar == "'" { choices.append([" ", scalar, " "]) }
        guard spellings.count * choices.count <= 64 else { return nil }
        spellings = spellings.flatMap { start in choices.map { start + $0 } }
    }
    return spellings
}
