import CKernels

/// T5's relative position bias: what is added to a score depends on the head and on key
/// position - query position.
package struct DistanceBias: Sendable {
    /// `[heads, distances]`.
    package let table: Rows
    /// The column of distance 0.
    package let zero: Int

    package init(table: Rows, zero: Int) {
        self.table = table
        self.zero = zero
    }

    func head(_ head: Int) -> UnsafeMutablePointer<Float> {
        table.base + head * table.stride + zero
    }
}

/// Attention of all heads over all sequences; sequence s of `queries` attends to sequence s of
/// `keys`.
///
/// T5 does not divide scores by the square root of the head width.
///
/// - Parameters:
///   - q: `[query rows, heads * dKV]`; k, v: `[key rows, heads * dKV]`; out is shaped as q.
///   - bias: covers distances -(longest queries - 1)...(longest keys - 1); nil for none.
///   - causal: leaves out the keys after a query's own position.
///   - logSums: `[heads, query rows]`, overwritten with the log-sum-exp of the scores for the
///     backward pass; or nil.
///   - dropout: of the softmax's weights; nil for none.
///   - keyValues: what keys and values are rounded to, float32 or bf16.
///   - arena: for packed keys and values.
/// - Throws: `UNSAY_E_MEMORY`, before anything is written.
package func attention(
    q: Rows, k: Rows, v: Rows, heads: Int, queries: Ragged, keys: Ragged, bias: DistanceBias?,
    causal: Bool, dropout: Dropout? = nil, keyValues precision: Precision = .float32,
    into out: Rows, logSums: Rows?, arena: Arena, workers: Workers
) throws {
    assert(queries.count == keys.count && queries.total == q.count && keys.total == k.count)
    assert(q.width % heads == 0 && k.width == q.width && v.width == q.width && out.width == q.width)
    let dKV = q.width / heads
    let mark = arena.mark()
    defer { arena.rewind(to: mark) }
    let keyValues = KeyValueShape(heads: heads, dKV: dKV, precision: precision)
    let memory = try arena.rows(1, packedFloats(keys, keyValues)).base
    let packed = packKeyValues(k: k, v: v, keys, keyValues, into: memory, workers: workers)
    let blocks = QueryBlocks(queries, heads: heads, keys: keys, dKV: dKV)
    blocks.forEach(workers) { head, sequence, rows in
        let column = head * dKV
        let own = packed[sequence]
        var shape = kernel_attention_shape(
            queries: rows.count, keys: own.capacity, d_kv: dKV,
            first_query: rows.lowerBound - queries.offsets[sequence], q_stride: q.stride,
            out_stride: out.stride, k_stride: 0, v_stride: 0, value_rows: own.capacity,
            weights: precision.kernel,
            dropout: dropout?.kernel(sequence: sequence, head: head) ?? kernel_dropout(),
            causal: causal ? 1 : 0)
        kernel_attention(
            &shape, q.base + rows.lowerBound * q.stride + column, own.keys(head),
            own.values(head), bias?.head(head),
            out.base + rows.lowerBound * out.stride + column,
            logSums.map { $0.base + head * $0.stride + rows.lowerBound })
    }
}

/// Its backward pass. Adds to dq, dk, dv, strided as q, k and v, and to dbias; dout is strided
/// as out.
///
/// Parallel over heads, so that every sum over queries and sequences keeps its order.
///
/// - Parameters:
///   - dbias: shaped as `bias`; nil if `bias` is, or if nobody wants it.
///   - arena: for blocks of keys and queries.
/// - Throws: `UNSAY_E_MEMORY`, before anything is written.
package func attentionBackward(
    dout: Rows, q: Rows, k: Rows, v: Rows, out: Rows, logSums: Rows, heads: Int, queries: Ragged,
    keys: Ragged, bias: DistanceBias?, causal: Bool, dropout: Dropout? = nil,
    addingTo dq: Rows, dk: Rows, dv: Rows, dbias: DistanceBias?, arena: Arena,
    workers: Workers
) throws {
    assert(queries.count == keys.count && queries.total == q.count && keys.total == k.count)
    assert(dq.stride == q.stride && dk.stride == k.stride && dv.stride == v.stride)
    assert(dout.stride == out.stride, "dout is strided as out")
    let dKV = q.width / heads
    let mark = arena.mark()
    defer { arena.rewind(to: mark) }
    let scratch = try arena.rows(heads, kernel_attention_scratch(dKV))
    workers.forEach(heads) { head in
        let column = head * dKV
        for sequence in 0..<queries.count {
            let rows = queries.range(sequence), keyRows = keys.range(sequence)
            let queryStart = rows.lowerBound, keyStart = keyRows.lowerBound
            var shape = kernel_attention_shape(
                queries: rows.count, keys: keyRows.count, d_kv: dKV, first_query: 0,
                q_stride: q.stride, out_stride: out.stride, k_stride: k.stride,
                v_stride: v.stride, value_rows: 0, weights: KERNEL_FLOAT32,
                dropout: dropout?.kernel(sequence: sequence, head: head) ?? kernel_dropout(),
                causal: causal ? 1 : 0)
            kernel_attention_backward(
                &shape, q.base + queryStart * q.stride + column,
                k.base + keyStart * k.stride + column, v.base + keyStart * v.stride + column,
                bias?.head(head), out.base + queryStart * out.stride + column,
                logSums.base + head * logSums.stride + queryStart,
                dout.base + queryStart * dout.stride + column,
                dq.base + queryStart * dq.stride + column,
                dk.base + keyStart * dk.stride + column, dv.base + keyStart * dv.stride + column,
                dbias?.head(head), scratch.base + head * scratch.stride)
        }
    }
}

/// The chunks of an attention: one head, one sequence, up to `size` queries.
private struct QueryBlocks {
    /// (sequence, rows) of every block of one head.
    private var blocks: [(sequence: Int, rows: Range<Int>)] = []
    private let heads: Int
    private let isSmall: Bool

    private static let size = Int(KERNEL_QUERY_GROUP)

    init(_ queries: Ragged, heads: Int, keys: Ragged, dKV: Int) {
        self.heads = heads
        var scores = 0
        for sequence in 0..<queries.count {
            let rows = queries.range(sequence)
            scores += rows.count * keys.range(sequence).count
            for first in stride(from: rows.lowerBound, to: rows.upperBound, by: Self.size) {
                blocks.append((sequence, first..<min(first + Self.size, rows.upperBound)))
            }
        }
        // About 16 multiply-adds a nanosecond: 20 microseconds.
        isSmall = Double(scores) * Double(2 * dKV * heads) < 320_000
    }

    func forEach(_ workers: Workers, _ body: (_ head: Int, _ sequence: Int, Range<Int>) -> Void) {
        let workers = isSmall ? Workers(threads: 1) : workers
        workers.split(blocks.count * heads, smallest: 1) { chunks in
            for chunk in chunks {
                let block = blocks[chunk % blocks.count]
                body(chunk / blocks.count, block.sequence, block.rows)
            }
        }
    }
}
