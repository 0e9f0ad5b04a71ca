import Tensors

/// out[i] = the embedding of ids[i]. ids: [rows], each below vocab_size; out: [rows, d_model].
package func embed(_ ids: [Int32], _ table: Projection, into out: Rows, _ pass: Pass) {
    switch table.storage {
    case .packed(let matrix):
        gather(ids, from: matrix, into: out, workers: pass.workers)
    case .plain(let parts):
        for (row, id) in ids.enumerated() {
            out.rows(row..<row + 1).copy(from: parts[0].rows(Int(id)..<Int(id) + 1))
        }
    }
}

/// Its backward pass: adds to the gradient of the table, in the order of `ids`, if it is trained.
package func embedBackward(_ ids: [Int32], dout: Rows, gradient: Projection, _ pass: Pass) {
    guard gradient.isTrained else { return }
    let table = gradient.parts[0]
    for (row, id) in ids.enumerated() {
        add(
            dout.rows(row..<row + 1), to: table.rows(Int(id)..<Int(id) + 1),
            workers: Workers(threads: 1))
    }
}
