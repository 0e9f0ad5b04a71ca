import Tensors

/// Gradients of what a session trains: of everything at once, laid out as it is, or, block by
/// block, of one block at a time beside what is outside of blocks.
package final class Gradients: Sendable {
    /// What belongs together: the trained weights of one block, or those between two blocks.
    package struct Part: @unchecked Sendable {
        /// nil for embedding, final norms and head.
        package let block: BlockPlace?
        /// Of the layout.
        package let slots: Range<Int>
        /// Where its weights lie in the flat array of what is trained.
        package let range: Range<Int>
        /// The gradient of the first of them; the others follow as the weights do.
        package let base: UnsafeMutablePointer<Float>
    }

    /// All of them; block by block, in no order that matters to anybody.
    package let values: FloatBuffer
    /// In the order of the layout.
    package let parts: [Part]
    /// Whether all of them are there at once.
    package let isWhole: Bool
    /// Views of `values`; what is not trained has no rows.
    package let network: Network

    /// - Parameter isWhole: false: blocks share the memory of the largest.
    package init(
        _ layout: TrainedLayout, _ snapshot: WeightsSnapshot, isWhole: Bool = true
    ) throws {
        let spans = layout.spans
        let largest = spans.map { $0.block == nil ? 0 : $0.range.count }.max() ?? 0
        let outside = spans.reduce(0) { $0 + ($1.block == nil ? $1.range.count : 0) }
        let values = try FloatBuffer(
            count: isWhole ? layout.flatCount : outside + largest, zeroed: true)
        var next = 0
        let parts = spans.map { span in
            var start = span.range.lowerBound
            if !isWhole {
                start = span.block == nil ? next : outside
                next += span.block == nil ? span.range.count : 0
            }
            return Part(
                block: span.block, slots: span.slots, range: span.range, base: values.base + start)
        }
        let starts = parts.flatMap { part in
            part.slots.map { part.base + (layout.slots[$0].offset - part.range.lowerBound) }
        }
        let views = SlotViews(layout) { starts[$0] }
        let none = Rows(base: values.base, count: 0, width: 0)
        self.values = values
        self.parts = parts
        self.isWhole = isWhole
        network = try snapshot.network(
            projection: { indices, _ in
                Projection(
                    views.parts(indices) { _ in none }, adapters: views.adapters(indices),
                    chosen: views.chosen(indices))
            },
            table: { index, _ in views.whole(index) ?? none })
    }

    package func zero() {
        values.base.update(repeating: 0, count: values.count)
    }

    package func zero(_ part: Part) {
        part.base.update(repeating: 0, count: part.range.count)
    }
}

/// Which block of which stack.
package struct BlockPlace: Sendable, Equatable {
    package let isDecoder: Bool
    package let index: Int

    package init(isDecoder: Bool, index: Int) {
        self.isDecoder = isDecoder
        self.index = index
    }

    /// The block that a weight belongs to, as in `decoder.block.3.layer.0.SelfAttention.q.weight`.
    init?(weight name: String) {
        let words = name.split(separator: ".")
        guard words.count > 2, words[1] == "block", let index = Int(words[2]) else { return nil }
        self.init(isDecoder: words[0] == "decoder", index: index)
    }
}

extension TrainedLayout {
    /// Neighbouring slots of one block, or of none.
    fileprivate struct Span {
        let block: BlockPlace?
        var slots: Range<Int>
        var range: Range<Int>
    }

    fileprivate var spans: [Span] {
        var spans: [Span] = []
        for (index, slot) in slots.enumerated() {
            let block = BlockPlace(weight: slot.name)
            let end = index + 1 < slots.count ? slots[index + 1].offset : flatCount
            if let last = spans.last, last.block == block {
                spans[spans.count - 1].slots = last.slots.lowerBound..<index + 1
                spans[spans.count - 1].range = last.range.lowerBound..<end
            } else {
                spans.append(
                    Span(block: block, slots: index..<index + 1, range: slot.offset..<end))
            }
        }
        return spans
    }
}
