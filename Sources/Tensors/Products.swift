import CKernels
import Support

/// out (+)= x Wᵀ. x: `[rows, inputs]`; out: `[rows, outputs]`.
///
/// - Parameters:
///   - outputs: computes only these columns of `out`, which still counts from output 0. Begins
///     at a multiple of 32 and ends at one or at the last; all of them if nil.
///   - adds: adds to `out` instead of overwriting it.
///   - arena: for the rounded inputs of int8 weights.
/// - Throws: `UNSAY_E_MEMORY`, before anything is written to `out`.
package func product(
    _ x: Rows, _ weights: PackedMatrix, outputs: Range<Int>? = nil, into out: Rows,
    adds: Bool = false, arena: Arena, workers: Workers
) throws {
    let outputs = outputs ?? 0..<weights.outputs
    assert(x.width == weights.inputs, "\(x.width) inputs, not \(weights.inputs)")
    assert(outputs.lowerBound % Panels.width == 0, "whole panels")
    assert(outputs.upperBound % Panels.width == 0 || outputs.upperBound == weights.outputs)
    assert(out.count == x.count && out.width >= outputs.upperBound, "out: [rows, outputs]")
    let mark = arena.mark()
    defer { arena.rewind(to: mark) }
    let factor = try Factor(x, for: weights, arena: arena, workers: workers)
    try multiply(
        factor, weights.panels, columns: outputs.upperBound,
        range: outputs.lowerBound / Panels.width..<Panels.count(outputs.upperBound),
        into: out, adds: adds, arena: arena, workers: workers)
}

/// Some elements of out = x Wᵀ: for each place a row's `PackedMatrix.panelWidth` outputs that
/// begin at the panel's first, to the bit as in the whole product.
///
/// - Throws: `UNSAY_E_MEMORY`, before anything is written to `out`.
package func product(
    _ x: Rows, _ weights: PackedMatrix, at places: [(row: Int, panel: Int)], into out: Rows,
    arena: Arena, workers: Workers
) throws {
    assert(x.width == weights.inputs && out.count == x.count && out.width == weights.outputs)
    let mark = arena.mark()
    defer { arena.rewind(to: mark) }
    let factor = try Factor(x, for: weights, arena: arena, workers: workers)
    // A panel of one row: 5 microseconds if it comes from memory.
    workers.split(places.count, smallest: 4) { range in
        for (row, panel) in places[range] {
            var shape = kernel_product_shape(
                rows: 1, columns: weights.outputs, depth: factor.depth,
                row_stride: factor.rowStride, depth_stride: factor.depthStride,
                out_stride: out.stride, first_panel: panel, end_panel: panel + 1,
                weights: weights.precision.kernel, input_bits: Int32(factor.bits), adds: 0,
                is_packed: 0)
            kernel_product(
                &shape, factor.row(row), factor.units.map { $0 + row }, weights.panels.base,
                weights.panels.units, out.base + row * out.stride)
        }
    }
}

/// out (+)= x Wᵀ with plain weights, `[outputs, inputs]`, packed into `arena` first.
///
/// What training uses, whose weights change at every step.
///
/// - Throws: `UNSAY_E_MEMORY`, before anything is written to `out`.
package func product(
    _ x: Rows, weight: Rows, into out: Rows, adds: Bool, precision: Precision = .float32,
    arena: Arena, workers: Workers
) throws {
    assert(x.width == weight.width && out.width == weight.count && out.count == x.count)
    try packed(
        weight.base, outputs: weight.count, outputStride: weight.stride, inputs: weight.width,
        inputStride: 1, precision, arena: arena, workers: workers
    ) { panels in
        try multiply(
            Factor(x), panels, into: out, adds: adds, arena: arena, workers: workers)
    }
}

/// dx (+)= dy W. dy: `[rows, outputs]`; weight: `[outputs, inputs]`; dx: `[rows, inputs]`.
///
/// - Throws: `UNSAY_E_MEMORY`, before anything is written to `dx`.
package func productBackwardInput(
    _ dy: Rows, weight: Rows, into dx: Rows, adds: Bool, precision: Precision = .float32,
    arena: Arena, workers: Workers
) throws {
    assert(dy.width == weight.count && dx.width == weight.width && dx.count == dy.count)
    try packed(
        weight.base, outputs: weight.width, outputStride: 1, inputs: weight.count,
        inputStride: weight.stride, precision, arena: arena, workers: workers
    ) { panels in
        try multiply(
            Factor(dy), panels, into: dx, adds: adds, arena: arena, workers: workers)
    }
}

/// dx (+)= dy W with packed weights, which are unpacked into `arena` first: for weights that
/// nobody trains.
///
/// - Throws: `UNSAY_E_MEMORY`, before anything is written to `dx`.
package func productBackwardInput(
    _ dy: Rows, packed weights: PackedMatrix, into dx: Rows, adds: Bool,
    precision: Precision = .float32, arena: Arena, workers: Workers
) throws {
    let mark = arena.mark()
    defer { arena.rewind(to: mark) }
    let plain = try arena.rows(weights.outputs, weights.inputs)
    workers.split(Panels.count(weights.outputs), smallest: 1) { panels in
        let first = panels.lowerBound * Panels.width
        let end = min(panels.upperBound * Panels.width, weights.outputs)
        weights.unpack(
            outputs: first..<end, into: plain.base + first * plain.stride, stride: plain.stride)
    }
    try productBackwardInput(
        dy, weight: plain, into: dx, adds: adds, precision: precision, arena: arena,
        workers: workers)
}

/// dweight += dyᵀ x. dy: `[rows, outputs]`; x: `[rows, inputs]`; dweight: `[outputs, inputs]`.
///
/// - Throws: `UNSAY_E_MEMORY`, before anything is written to `dweight`.
package func productBackwardWeight(
    _ dy: Rows, _ x: Rows, into dweight: Rows, precision: Precision = .float32, arena: Arena,
    workers: Workers
) throws {
    assert(dy.count == x.count && dweight.count == dy.width && dweight.width == x.width)
    try packed(
        x.base, outputs: x.width, outputStride: 1, inputs: x.count, inputStride: x.stride,
        precision, arena: arena, workers: workers
    ) { panels in
        try multiply(
            Factor(transposing: dy), panels, into: dweight, adds: true, arena: arena,
            workers: workers)
    }
}

/// The left factor of a product: element (row, depth k) is `base[row * rowStride + k *
/// depthStride]`, of floats, or of integers that count `units` of their row.
private struct Factor: @unchecked Sendable {
    let base: UnsafeRawPointer
    let units: UnsafePointer<Float>?
    /// Of integers: 8 or 16.
    var bits = 0
    let rows: Int, depth: Int
    let rowStride: Int, depthStride: Int

    init(_ x: Rows) {
        base = UnsafeRawPointer(x.base)
        units = nil
        (rows, depth, rowStride, depthStride) = (x.count, x.width, x.stride, 1)
    }

    init(transposing x: Rows) {
        base = UnsafeRawPointer(x.base)
        units = nil
        (rows, depth, rowStride, depthStride) = (x.width, x.count, 1, x.stride)
    }

    /// As the weights want it; the memory is of `arena`.
    init(_ x: Rows, for weights: PackedMatrix, arena: Arena, workers: Workers) throws {
        self =
            weights.precision == .int8
            ? try Factor(quantizing: x, bits: weights.inputBits, arena: arena, workers: workers)
            : Factor(x)
    }

    /// In 8 or 16 bits; the memory is of `arena`.
    init(quantizing x: Rows, bits: Int, arena: Arena, workers: Workers) throws {
        let stride = (x.width + 1) / 2 * 2
        let units = try arena.rows(1, x.count).base
        let integers = UnsafeMutableRawPointer(try arena.rows(x.count, stride / 2).base)
            .assumingMemoryBound(to: Int16.self)
        let target = Shared(integers), targetUnits = Shared(units)
        workers.split(x.count, smallest: rowsPerChunk(width: x.width)) { rows in
            kernel_quantize(
                x.base + rows.lowerBound * x.stride, x.stride, rows.count, x.width, Int32(bits),
                target.pointer + rows.lowerBound * stride, stride,
                targetUnits.pointer + rows.lowerBound)
        }
        base = UnsafeRawPointer(integers)
        self.units = UnsafePointer(units)
        self.bits = bits
        (rows, depth, rowStride, depthStride) = (x.count, x.width, stride, 1)
    }

    /// Where a row begins.
    func row(_ row: Int) -> UnsafeRawPointer { base + row * rowStride * (units == nil ? 4 : 2) }
}

/// Packs into `arena`, calls `body` with the panels and gives the memory back.
private func packed(
    _ source: UnsafeMutablePointer<Float>, outputs: Int, outputStride: Int, inputs: Int,
    inputStride: Int, _ precision: Precision, arena: Arena, workers: Workers,
    _ body: (Panels) throws -> Void
) throws {
    let mark = arena.mark()
    defer { arena.rewind(to: mark) }
    let memory = try arena.rows(1, Panels.floats(outputs, inputs, precision)).base
    let panels = Panels(memory, outputs: outputs, inputs: inputs, precision)
    panels.clearPadding()
    panels.pack(
        source, outputs: 0..<outputs, outputStride: outputStride, inputStride: inputStride,
        workers: workers)
    try body(panels)
}

/// `kernel_product` in chunks of rows and panels. A result is the same whatever the chunks.
///
/// - Throws: `UNSAY_E_MEMORY`, before anything is written to `out`.
private func multiply(
    _ x: Factor, _ weights: Panels, columns: Int? = nil, range: Range<Int>? = nil,
    into out: Rows, adds: Bool, arena: Arena, workers: Workers
) throws {
    let columns = columns ?? weights.outputs
    let panels = range ?? 0..<Panels.count(columns)
    guard x.rows > 0, !panels.isEmpty else { return }
    if x.depth == 0 {
        if !adds { out.columns(panels.lowerBound * Panels.width..<columns).fill(0) }
        return
    }
    let (rowChunks, panelChunks) = chunks(
        rows: x.rows, panels: panels.count, depth: x.depth, workers: workers)
    let rowSize = (x.rows + rowChunks - 1) / rowChunks
    let panelSize = (panels.count + panelChunks - 1) / panelChunks
    var shape = kernel_product_shape(
        rows: x.rows, columns: columns, depth: x.depth, row_stride: x.rowStride,
        depth_stride: x.depthStride, out_stride: out.stride, first_panel: panels.lowerBound,
        end_panel: panels.upperBound, weights: weights.precision.kernel,
        input_bits: Int32(x.bits), adds: adds ? 1 : 0, is_packed: 0)
    let mark = arena.mark()
    defer { arena.rewind(to: mark) }
    var packed: UnsafeMutablePointer<Float>?
    if rowChunks == 1, panelChunks > 1 {
        let memory = try arena.rows(1, kernel_packed_rows_floats(&shape)).base
        let (plain, target) = (shape, Shared(memory))
        // 8,192 floats take about 5 microseconds.
        let count = kernel_depth_blocks(&shape)
        let smallest = max(1, 8_192 * count / (x.depth * x.rows))
        workers.split(count, smallest: smallest) { blocks in
            var shape = plain
            kernel_pack_rows(
                &shape, x.base, blocks.lowerBound, blocks.upperBound, target.pointer)
        }
        shape.is_packed = 1
        packed = memory
    }
    let (whole, source) = (shape, Shared(packed))
    workers.forEach(rowChunks * panelChunks) { number in
        let chunk = spread(number, of: rowChunks * panelChunks, threads: workers.threads)
        let row = chunk % rowChunks * rowSize
        var shape = whole
        shape.rows = min(rowSize, x.rows - row)
        shape.first_panel = panels.lowerBound + chunk / rowChunks * panelSize
        shape.end_panel = min(shape.first_panel + panelSize, panels.upperBound)
        guard row < x.rows, shape.first_panel < panels.upperBound else { return }
        let rows = source.pointer.map { UnsafeRawPointer($0) } ?? x.row(row)
        kernel_product(
            &shape, rows, x.units.map { $0 + row }, weights.base, weights.units,
            out.base + row * out.stride)
    }
}

/// The chunk that is claimed as the `number`th: each of `threads` that take turns gets chunks that
/// lie one behind the other, as then it has asked for the weights of the next one already.
private func spread(_ number: Int, of count: Int, threads: Int) -> Int {
    let rounds = count / threads
    guard number < rounds * threads else { return number }
    return number % threads * rounds + number / threads
}

/// How often to split rows and panels: enough for every thread, none below 20 microseconds.
///
/// Each row chunk reads all its panels and packs its rows, while panel chunks share rows that are
/// packed once: so many rows are split by rows and few by panels.
private func chunks(rows: Int, panels: Int, depth: Int, workers: Workers) -> (Int, Int) {
    guard workers.threads > 1 else { return (1, 1) }
    // 32 products a nanosecond at best; a weight takes a fifth of one to fetch.
    let perPanel = Double(depth * Panels.width) * max(Double(rows) / 32, 0.2)
    // checked: sizes are finite, and so is what is made of them
    let affordable = max(1, Int(min(perPanel * Double(panels) / 20_000, 1e6)))
    let wanted = min(workers.threads * Workers.chunksPerThread, affordable)
    let rowChunks = min(wanted, max(1, rows / 96))  // 96: the rows a kernel packs at once
    let panelChunks = min((wanted + rowChunks - 1) / rowChunks, panels)
    return (rowChunks, panelChunks)
}
