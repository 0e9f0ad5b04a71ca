/// Weights in files, from where a snapshot is made. Used from several threads at once.
package protocol StoredWeights {
    /// Overwrites `out`, [rows.count, columns], with rows of parameter `index` in float32.
    func read(_ index: Int, rows: Range<Int>, into out: UnsafeMutablePointer<Float>) throws

    /// The fewest rows of a parameter that are worth a call of `read`.
    func leastRows(_ index: Int) -> Int

    /// Where a parameter lies in memory, if it does so in float32; else nil.
    func floats(_ index: Int) -> PlainFloats?

    /// Says that rows, or all of them, will not be read again soon: they need not stay in
    /// memory.
    func release(_ index: Int, rows: Range<Int>?)
}

/// A matrix of float32 numbers at any address, aligned or not. Borrowed.
package struct PlainFloats {
    package let base: UnsafeRawPointer
    /// In elements.
    package let rowStride: Int
    package let columnStride: Int

    package init(base: UnsafeRawPointer, rowStride: Int, columnStride: Int) {
        self.base = base
        self.rowStride = rowStride
        self.columnStride = columnStride
    }

    /// For `kernel_pack` and its like, which take any address.
    func row(_ row: Int) -> UnsafePointer<Float> {
        (base + row * rowStride * MemoryLayout<Float>.size).assumingMemoryBound(to: Float.self)
    }
}
