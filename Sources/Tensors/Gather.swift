/// out[i] = row ids[i] of an embedding table. out: `[ids.count, inputs]`.
///
/// Every id is within the table: the caller has checked.
package func gather(_ ids: [Int32], from table: PackedMatrix, into out: Rows, workers: Workers) {
    assert(out.count == ids.count && out.width == table.inputs, "out: [ids, inputs]")
    workers.split(ids.count, smallest: rowsPerChunk(width: 8 * table.inputs)) { rows in
        for row in rows {
            let id = Int(ids[row])
            table.unpack(
                outputs: id..<id + 1, into: out.base + row * out.stride, stride: out.stride)
        }
    }
}
