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
/// parameters which now differ is split: each gets an initializer of its own. So the head of a
/// model whose head was its embedding table goes where graphs multiply by the table, and leaves
/// the rows alone that they look up; config.json says so.
///
/// If any weight changed in a checkpoint that is quantised, all quantised weights are written
/// as floats, in the type that their graph computes in, and nothing in it is rounded to
/// integers any more.
///
/// All is written beside `folder` and committed by one rename. If the folder exists, even if
/// it is the source, it is replaced, and what it held beside the model is kept.
///
/// - Parameter layout: of the new weights: the checkpoint's, but for a head of its own; nil: the
///   checkpoint's.
/// - Parameter allowsRounding: whether the folder that the checkpoint was opened from may be
///   replaced where it stores changed weights in 16 bits that do not hold them: the exact weights,
///   old and new, are then nowhere any more.
/// - Parameter values: overwrites the buffer with a parameter's new values, canonical as
///   `Checkpoint.read` gives them. Called once or twice for each.
/// - Parameter largestInline: bytes of new tensors that a model file takes; more go into a
///   file of external data beside it.
/// - Throws: `UNSAY_E_STATE` where that rounding is not allowed;
///   `UNSAY_E_UNSUPPORTED` for a changed weight that its layout leaves no place for;
///   `UNSAY_E_DIVERGED` for one that is not finite; `UNSAY_E_FORMAT` for one that does not fit
///   its stored type; `UNSAY_E_IO`; whatever `values` throws. The destination is then untouched.
package func saveCheckpoint(
    _ checkpoint: Checkpoint, to folder: some PathConvertible, layout: ParameterLayout? = nil,
    allowsRounding: Bool = false,
    largestInline: Int = 256 << 20,
    values: (_ parameter: Int, _ into: UnsafeMutableBufferPointer<Float>) throws -> Void
) throws {
    let new = try NewFolder(for: folder.path)
    do {
        let replacesSource = checkpoint.folder.isSource(folder.path)
        let saved = SavedLayout(checkpoint, layout ?? checkpoint.layout)
        let writer = CheckpointWriter(
            checkpoint, saved, new, largestInline: largestInline,
            keepsExact: replacesSource && !allowsRounding)
        try writer.copyFiles()
        try writer.writeWeights { try values(saved.source($0), $1) }
        try new.commit(keepsModels: replacesSource)
    } catch {
        new.discard()
        throw error
    }
}

/// Fills a new folder with a checkpoint's files and new weights.
private struct CheckpointWriter {
    let checkpoint: Checkpoint
    let saved: SavedLayout
    let new: NewFolder
    let largestInline: Int
    /// Whether a changed weight that its stored type does not hold exactly is refused.
    let keepsExact: Bool
    private let rewriters: [ObjectIdentifier: ModelRewriter]

    init(
        _ checkpoint: Checkpoint, _ saved: SavedLayout, _ new: NewFolder, largestInline: Int,
        keepsExact: Bool
    ) {
        self.checkpoint = checkpoint
        self.saved = saved
        self.new = new
        self.largestInline = largestInline
        self.keepsExact = keepsExact
        rewriters = Dictionary(
            uniqueKeysWithValues: checkpoint.models.map {
                (ObjectIdentifier($0), ModelRewriter($0))
            })
    }

    private var prefix: Path { checkpoint.folder.weightsPrefix }

    func copyFiles() throws {
        try requireWhole()
        var written = Set<Path>()
        for model in checkpoint.models {
            try new.write(model.file.bytes, to: prefix + model.path)
            written.insert(prefix + model.path)
            for (location, file) in model.externalFiles.sorted(by: { $0.key < $1.key })
            where written.insert(prefix + location).inserted {
                try new.write(file.bytes, to: prefix + location)
            }
        }
        var hasConfiguration = false
        for (path, file) in checkpoint.sideFiles where !written.contains(path) {
            let isConfiguration = path == "config.json" || path == prefix + "config.json"
            hasConfiguration = hasConfiguration || isConfiguration
            let bytes = try file.get().bytes
            if isConfiguration, let edited = try saved.configuration(bytes) {
                try edited.withUnsafeBytes { try new.write($0, to: path) }
            } else {
                try new.write(bytes, to: path)
            }
        }
        if !hasConfiguration, let bytes = try saved.configuration(nil) {
            try bytes.withUnsafeBytes { try new.write($0, to: prefix + "config.json") }
        }
    }

    /// The source's files are read from where they are mapped.
    private func requireWhole() throws {
        for model in checkpoint.models {
            try model.file.requireWhole(model.path)
            for (location, file) in model.externalFiles { try file.requireWhole(location) }
        }
    }

    // MARK: Weights

    func writeWeights(
        _ values: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
    ) throws {
        let shared = try splitTensors(values)
        let dequantizes = try isQuantized && isChanged(values)
        for (index, parameter) in saved.layout.parameters.enumerated() {
            try requireWhole()
            let before = try FloatBuffer(count: parameter.count)
            let after = try FloatBuffer(count: parameter.count)
            try saved.read(index, into: before.values)
            try values(index, after.values)
            let isChanged = !before.isEqual(to: after)
            guard isChanged || dequantizes else { continue }
            if let bad = after.values.firstIndex(where: { !$0.isFinite }) {
                throw Failure(
                    UNSAY_E_DIVERGED, "\(parameter.name) is \(after.values[bad]) at element \(bad)")
            }
            for (rank, site) in saved.sites(index).enumerated() {
                let constant = site.constant
                // The best copy is what opening reads; others may be rounded already.
                let isRead = rank == 0
                if let place = constant.tensor.place, constant.quantization == nil,
                    !shared.contains(place)
                {
                    guard isChanged else { continue }
                    if isRead {
                        try requireExact(
                            constant, constant.tensor.dataType, constant.scale, parameter, after)
                    }
                    try edit(constant, at: place, parameter, from: before, to: after)
                } else if isChanged || constant.quantization != nil {
                    if isRead {
                        try requireExact(constant, constant.valueType, 1, parameter, after)
                    }
                    try rewrite(constant, parameter, to: after)
                }
            }
            if index == saved.layout.ownHead, let table = try saved.tableOfNewHead() {
                try add(parameter, beside: table, after)
            }
        }
        for rewriter in rewriters.values where !rewriter.isEmpty {
            if dequantizes { rewriter.keepActivationsFloat() }
            let path = prefix + rewriter.model.path
            let rewritten = try RewrittenModel(new.map(path), rewriter)
            try withExtendedLifetime(rewritten) { try new.rewrite($0.bytes, to: path) }
        }
    }

    /// - Parameters:
    ///   - dataType, scale: as the values are about to be stored.
    private func requireExact(
        _ constant: Constant, _ dataType: Int32, _ scale: Float, _ parameter: Parameter,
        _ values: FloatBuffer
    ) throws {
        guard keepsExact,
            try !holdsExactly(UnsafeBufferPointer(values.values), dataType, scale, constant.name)
        else { return }
        throw Failure(
            UNSAY_E_STATE,
            "\(parameter.name) is stored in 16 bits, which would round its changed values, and this "
                + "is the folder that the model was opened from: save to another one, or allow "
                + "rounding if the original is kept elsewhere")
    }

    private var isQuantized: Bool {
        checkpoint.sites.contains { $0.contains { $0.constant.quantization != nil } }
    }

    private func isChanged(
        _ values: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
    ) throws -> Bool {
        for (index, parameter) in saved.layout.parameters.enumerated() {
            let before = try FloatBuffer(count: parameter.count)
            let after = try FloatBuffer(count: parameter.count)
            try saved.read(index, into: before.values)
            try values(index, after.values)
            if !before.isEqual(to: after) { return true }
        }
        return false
    }

    private func edit(
        _ constant: Constant, at place: StoredTensor.Place, _ parameter: Parameter,
        from before: FloatBuffer, to after: FloatBuffer
    ) throws {
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

    /// Gives the parameter a tensor of its own there: inside the file as long as new tensors
    /// are small, else in a file of external data.
    private func rewrite(
        _ constant: Constant, _ parameter: Parameter, to after: FloatBuffer
    ) throws {
        guard let rewriter = rewriters[ObjectIdentifier(constant.model)] else { return }
        try rewriter.replace(constant, of: parameter, with: after) { try store($0, rewriter) }
    }

    /// Adds a tensor that no file has yet, where tensors are found by their names.
    private func add(
        _ parameter: Parameter, beside table: Constant, _ values: FloatBuffer
    ) throws {
        guard let rewriter = rewriters[ObjectIdentifier(table.model)] else { return }
        try rewriter.add(parameter, like: table, values) { try store($0, rewriter) }
    }

    private func store(
        _ bytes: [UInt8], _ rewriter: ModelRewriter
    ) throws -> ModelRewriter.NewTensor.Payload {
        guard rewriter.newByteCount + bytes.count > largestInline else { return .bytes(bytes) }
        let location = rewriter.externalName
        let offset = try bytes.withUnsafeBytes { try new.append($0, to: prefix + Path(location)) }
        return .external(location: location, offset: offset, byteCount: bytes.count)
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
        for index in saved.layout.parameters.indices {
            for site in saved.sites(index) {
                guard let place = site.constant.tensor.place else { continue }
                let spot = Spot(place: place, first: site.constant.view.first)
                if users[spot]?.last != index { users[spot, default: []].append(index) }
            }
        }
        var split = Set<StoredTensor.Place>()
        for (spot, parameters) in users where parameters.count > 1 {
            let count = saved.layout.parameters[parameters[0]].count
            let first = try FloatBuffer(count: count)
            try values(parameters[0], first.values)
            for index in parameters.dropFirst() {
                let parameter = saved.layout.parameters[index]
                let other = try FloatBuffer(count: parameter.count)
                try values(index, other.values)
                if !first.isEqual(to: other) { split.insert(spot.place) }
            }
        }
        return split
    }
}
