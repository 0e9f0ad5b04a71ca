import COnnx
import CUnsay
import Support
import T5
import Tensors

/// Writes the source folder's layout with new weights.
///
/// The same files, graphs and names: every copy of a changed weight is replaced in its stored
/// type, float16 rounded to nearest even; every other byte stays. Configuration and vocabulary
/// are copied; other weight files (.safetensors and the like, .onnx files that were not
/// opened) are not, since they would hold the old weights. One tensor that serves several
/// parameters which now differ is split: each gets an initializer of its own.
///
/// All is written beside `folder` and committed by one rename. If the folder exists, even if
/// it is the source, it is replaced, and what it held beside the model is kept.
///
/// - Parameter values: overwrites the buffer with a parameter's new values, canonical as
///   `Checkpoint.read` gives them. Called once or twice for each.
/// - Throws: `UNSAY_E_UNSUPPORTED` for a changed weight that is stored quantised;
///   `UNSAY_E_DIVERGED` for one that is not finite; `UNSAY_E_FORMAT` for one that does not fit
///   its stored type; `UNSAY_E_IO`; whatever `values` throws. The destination is then untouched.
package func saveCheckpoint(
    _ checkpoint: Checkpoint, to folder: String,
    values: (_ parameter: Int, _ into: UnsafeMutableBufferPointer<Float>) throws -> Void
) throws {
    let new = try NewFolder(for: folder)
    do {
        let writer = CheckpointWriter(checkpoint: checkpoint, new: new)
        try writer.copyFiles()
        try writer.writeWeights(values)
        let target = try? Directory(folder)
        let isSource = target.map { checkpoint.folder.directory?.isSame(as: $0) == true } ?? false
        try new.commit(keepsModels: isSource)
    } catch {
        new.discard()
        throw error
    }
}

/// Fills a new folder with a checkpoint's files and new weights.
private struct CheckpointWriter {
    let checkpoint: Checkpoint
    let new: NewFolder

    private var prefix: String { checkpoint.folder.weightsPrefix }

    func copyFiles() throws {
        var written = Set<String>()
        for model in checkpoint.models {
            try new.write(model.file.bytes, to: prefix + model.name)
            for (location, file) in model.externalFiles.sorted(by: { $0.key < $1.key })
            where written.insert(prefix + location).inserted {
                try new.write(file.bytes, to: prefix + location)
            }
        }
        for (path, file) in checkpoint.sideFiles where !written.contains(path) {
            try new.write(file.bytes, to: path)
        }
    }

    // MARK: Weights

    func writeWeights(
        _ values: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
    ) throws {
        let shared = try splitTensors(values)
        var splits: [Split] = []
        for (index, parameter) in checkpoint.layout.parameters.enumerated() {
            let before = try FloatBuffer(count: parameter.count)
            let after = try FloatBuffer(count: parameter.count)
            try checkpoint.read(index, into: before.values)
            try values(index, after.values)
            guard !before.isEqual(to: after) else { continue }
            if let bad = after.values.firstIndex(where: { !$0.isFinite }) {
                throw Failure(
                    UNSAY_E_DIVERGED, "\(parameter.name) is \(after.values[bad]) at element \(bad)")
            }
            for site in checkpoint.sites[index] {
                let constant = site.constant
                let place = try writablePlace(of: constant, parameter)
                if shared.contains(place) {
                    splits.append(try split(constant, parameter, after))
                    continue
                }
                do {
                    try new.edit(
                        prefix + place.file, at: place.offset, count: constant.tensor.bytes.count
                    ) {
                        try constant.write(
                            UnsafeBufferPointer(after.values),
                            changedFrom: UnsafeBufferPointer(before.values), into: $0)
                    }
                } catch let failure as Failure {
                    throw Failure(failure.status, "\(parameter.name): \(failure.sentence)")
                }
            }
        }
        try rewire(splits)
    }

    private func writablePlace(
        of constant: Constant, _ parameter: Parameter
    ) throws -> StoredTensor.Place {
        guard constant.quantization == nil, let place = constant.tensor.place else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "\(constant.name), which is \(parameter.name), is stored quantised or packed: "
                    + "changed weights can be saved only into a float32, float16 or bfloat16 export"
            )
        }
        return place
    }

    /// The tensors that serve several parameters whose new values differ.
    private func splitTensors(
        _ values: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
    ) throws -> Set<StoredTensor.Place> {
        struct Spot: Hashable {
            let place: StoredTensor.Place
            let first: Int
        }
        var users: [Spot: [Int]] = [:]
        for (index, sites) in checkpoint.sites.enumerated() {
            for site in sites {
                guard let place = site.constant.tensor.place else { continue }
                let spot = Spot(place: place, first: site.constant.view.first)
                if users[spot]?.last != index { users[spot, default: []].append(index) }
            }
        }
        var split = Set<StoredTensor.Place>()
        for (spot, parameters) in users where parameters.count > 1 {
            let count = checkpoint.layout.parameters[parameters[0]].count
            let first = try FloatBuffer(count: count)
            try values(parameters[0], first.values)
            for index in parameters.dropFirst() {
                let parameter = checkpoint.layout.parameters[index]
                let other = try FloatBuffer(count: parameter.count)
                try values(index, other.values)
                if !first.isEqual(to: other) { split.insert(spot.place) }
            }
        }
        return split
    }

    // MARK: Splitting

    /// A parameter that leaves a tensor it shared: its own initializer, and who reads it.
    private struct Split {
        let model: OnnxModel
        let consumer: Constant.Consumer
        let parameter: String
        let dims: [Int]
        let dataType: Int32
        let bytes: [UInt8]

        /// One initializer serves all readers that want the same layout and type.
        var key: String {
            "\(parameter).\(dims.map(String.init).joined(separator: "x")).\(dataType)"
        }
    }

    private func split(
        _ constant: Constant, _ parameter: Parameter, _ after: FloatBuffer
    ) throws -> Split {
        let size = onnx_float_size(constant.valueType)
        guard let consumer = constant.consumer, size > 0 else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "\(constant.name) serves \(parameter.name) and other parameters, which now differ, "
                    + "and cannot be split there: export the model again with distinct weights")
        }
        let (byteCount, overflow) = size.multipliedReportingOverflow(by: parameter.count)
        guard !overflow else { throw Failure(UNSAY_E_MEMORY, "\(parameter.name) is too large") }
        let isTurned = consumer.isTransposed && parameter.shape.count == 2
        let dims = isTurned ? [parameter.columns, parameter.rows] : parameter.shape
        // Written through the view [out, in] of what the consumer sees as [in, out].
        var view = onnx_view(
            first: 0, rows: UInt64(parameter.rows), columns: UInt64(parameter.columns),
            row_stride: UInt64(isTurned ? 1 : parameter.columns),
            column_stride: UInt64(isTurned ? parameter.rows : 1))
        var bytes = [UInt8](repeating: 0, count: byteCount)
        var message = onnx_message()
        let status = onnx_write_floats(
            &bytes, UInt64(parameter.count), constant.valueType, &view, 1, nil,
            after.values.baseAddress, &message)
        guard status == ONNX_OK else { throw Failure(status, message, about: constant.name) }
        return Split(
            model: constant.model, consumer: consumer, parameter: parameter.name, dims: dims,
            dataType: constant.valueType, bytes: bytes)
    }

    private func rewire(_ splits: [Split]) throws {
        for model in checkpoint.models {
            let own = splits.filter { $0.model === model }
            guard !own.isEmpty else { continue }
            let path = prefix + model.name
            let rewired = try RewiredModel(
                try new.map(path), name: model.name,
                own.map { split in
                    RewiredModel.Input(
                        consumer: split.consumer, name: model.unusedName(like: split.key),
                        dims: split.dims, dataType: split.dataType, bytes: split.bytes)
                })
            try new.rewrite(rewired.bytes, to: path)
        }
    }
}
