import CUnsay
import Support
import T5

/// Where new weights go in a checkpoint's files, whose head may be the embedding table while the
/// new weights have one of their own, or the other way round.
struct SavedLayout {
    /// Of what is written: with a head of its own if the files or the new weights have one.
    let layout: ParameterLayout
    private let checkpoint: Checkpoint
    /// Of the new weights.
    private let given: ParameterLayout

    init(_ checkpoint: Checkpoint, _ given: ParameterLayout) {
        self.checkpoint = checkpoint
        self.given = given
        layout = given.ownHead == nil ? checkpoint.layout : given
    }

    /// Whether the head is the embedding table in the files, and has a weight of its own now.
    private var separatesHead: Bool { checkpoint.layout.ownHead == nil && layout.ownHead != nil }

    /// The same, the other way round.
    private var tiesHead: Bool { given.ownHead == nil && layout.ownHead != nil }

    /// Every place of a parameter.
    func sites(_ index: Int) -> [Findings.Site] {
        guard separatesHead else { return checkpoint.sites[index] }
        let isHead = index == layout.ownHead
        guard isHead || index == layout.table else { return checkpoint.sites[index] }
        return checkpoint.sites[stored(index)].filter { $0.isHead == isHead }
    }

    /// The values that the files have of a parameter.
    func read(_ index: Int, into values: UnsafeMutableBufferPointer<Float>) throws {
        try checkpoint.read(stored(index), into: values)
    }

    /// The parameter whose new values a parameter gets.
    func source(_ index: Int) -> Int {
        tiesHead && index == layout.ownHead ? layout.table ?? index : index
    }

    private func stored(_ index: Int) -> Int {
        separatesHead && index == layout.ownHead ? layout.table ?? index : index
    }

    /// In files that only hold weights by name, and none of a head: the table that the head's
    /// tensor is put beside.
    ///
    /// - Throws: `UNSAY_E_UNSUPPORTED` if a head is wanted in graphs that have none.
    func tableOfNewHead() throws -> Constant? {
        guard separatesHead, let head = layout.ownHead, sites(head).isEmpty else { return nil }
        let table = layout.table.flatMap { sites($0).first?.constant }
        guard let table, Graph.all(of: table.model).allSatisfy(\.isContainer) else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "\(layout.parameters[head].name) has no place in \(checkpoint.folder.name): its "
                    + "graphs have no output head")
        }
        return table
    }

    /// config.json as the saved weights want it: it says whether the head is the embedding
    /// table, and that a head which reads scaled states goes on doing so. All else is as it was,
    /// byte for byte.
    ///
    /// - Parameter text: nil where there is no config.json.
    /// - Returns: nil if nothing has to be said.
    func configuration(_ text: UnsafeRawBufferPointer?) throws -> [UInt8]? {
        guard separatesHead || tiesHead else { return nil }
        var bytes = try settingMember(
            "tie_word_embeddings", to: tiesHead ? "true" : "false",
            in: text.map { Array($0) } ?? Array("{}\n".utf8),
            named: "config.json")
        // transformers takes a head of its own for one that reads plain states, if nothing is
        // said (T5Config of version 5).
        if separatesHead, checkpoint.configuration.headScale != 1 {
            bytes = try settingMember(
                "scale_decoder_outputs", to: "true", in: bytes, named: "config.json")
        }
        return bytes
    }
}
