/// How a phrase is looked for in text: as it is given, and as the model would write it, whose
/// vocabulary may know only normalised characters.
///
/// - Returns: none for a phrase without a character other than white space.
package func spellings(of phrase: String, tokenizer: any Tokenizer) throws -> [FoldedText] {
    let given = FoldedText(Array(phrase.utf8)).trimmed()
    guard !given.isEmpty else { return [] }
    let written = try tokenizer.encode(phrase).map(\.id)
    guard !written.contains(tokenizer.unkTokenID) else { return [given] }
    let respelled = FoldedText(try tokenizer.decode(written)).trimmed()
    return respelled.isEmpty || respelled.scalars == given.scalars ? [given] : [given, respelled]
}
