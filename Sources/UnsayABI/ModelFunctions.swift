import CUnsay
import Models
import Support
import T5
import Tensors
import Tokenizers

// Section 2 of unsay.h: open, save, look inside.

/// What a `unsay_model` points at: the model, and the C strings borrowed from it.
final class ModelHandle: Sendable {
    let model: Model
    let defaults: GenerateDefaults
    private nonisolated(unsafe) let names: [UnsafeMutablePointer<CChar>]
    private nonisolated(unsafe) let files: [UnsafeMutablePointer<CChar>]

    init(_ model: Model) {
        self.model = model
        defaults = GenerateDefaults(model)
        // A change may give the head a weight of its own.
        names = model.layout.withOwnHead.parameters.map { Self.copy($0.name.utf8CString) }
        files = model.checkpoint.files.map { Self.copy($0.cString) }
    }

    private static func copy(_ bytes: some Collection<CChar>) -> UnsafeMutablePointer<CChar> {
        let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
        copy.update(from: Array(bytes), count: bytes.count)
        return copy
    }

    deinit {
        for name in names + files { name.deallocate() }
    }

    /// Lives as long as the handle; nil if there are fewer files.
    func file(_ index: Int) -> UnsafePointer<CChar>? {
        files.indices.contains(index) ? UnsafePointer(files[index]) : nil
    }

    /// Lives as long as the handle.
    func name(_ index: Int) -> UnsafePointer<CChar> { UnsafePointer(names[index]) }
}

func model(_ handle: OpaquePointer?, _ name: String = "model") throws -> Model {
    try object(handle, ModelHandle.self, name).model
}

private var openDefaults: unsay_open_options {
    unsay_open_options(
        struct_size: MemoryLayout<unsay_open_options>.size, threads: 0,
        compute: UNSAY_COMPUTE_F32, allow_links: 0, reserved: 0, tokenizer_path: nil,
        variant: nil)
}

@_cdecl("unsay_open_options_init") @implementation
public func unsay_open_options_init(
    _ options: UnsafeMutablePointer<unsay_open_options>!, _ struct_size: Int
) {
    initialise(options, struct_size, with: openDefaults)
}

/// The caller's options, checked.
private func openSettings(
    _ options: UnsafePointer<unsay_open_options>?
) throws -> OpenSettings {
    let options = try read(options, over: openDefaults, named: "options")
    var settings = OpenSettings()
    settings.threads = Int(options.threads)
    settings.precision = try precision(of: options.compute)
    settings.allowLinks = options.allow_links != 0
    settings.tokenizerPath = try options.tokenizer_path.map {
        try requirePath($0, "tokenizer_path")
    }
    settings.variant = try options.variant.map { try requireString($0, "variant") }
    return settings
}

func precision(of compute: unsay_compute) throws -> Precision {
    switch compute {
    case UNSAY_COMPUTE_F32: return .float32
    case UNSAY_COMPUTE_BF16: return .bf16
    case UNSAY_COMPUTE_INT8: return .int8
    default:
        throw Failure(
            UNSAY_E_ARGUMENT, "compute is \(compute.rawValue), not one of unsay_compute")
    }
}

@_cdecl("unsay_model_open") @implementation
public func unsay_model_open(
    _ folder: UnsafePointer<CChar>!, _ options: UnsafePointer<unsay_open_options>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        let folder = try requirePath(folder, "folder")
        let model = try Model(folder: folder, openSettings(options))
        log(UNSAY_LOG_INFO, "opened \(folder): \(model.layout.parameterCount) parameters")
        out.pointee = opened(model)
    }
}

@_cdecl("unsay_model_open_buffers") @implementation
public func unsay_model_open_buffers(
    _ files: UnsafePointer<unsay_buffer>!, _ count: Int,
    _ options: UnsafePointer<unsay_open_options>!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        let settings = try openSettings(options)
        let buffers = try requireArray(files, count, "files").enumerated().map { index, file in
            let bytes = try requireArray(
                file.bytes?.assumingMemoryBound(to: UInt8.self), file.size, "files[\(index)].bytes")
            return (
                name: try requireString(file.name, "files[\(index)].name"),
                bytes: UnsafeRawBufferPointer(bytes)
            )
        }
        out.pointee = opened(try Model(buffers: buffers, settings))
    }
}

/// The handle of a model that was just opened; what its user should know is logged.
private func opened(_ model: Model) -> OpaquePointer {
    if let problem = model.vocabularyProblem {
        log(UNSAY_LOG_WARNING, "opened on ids only: \(problem)")
    }
    let opened = ModelHandle(model)
    opened.defaults.warn()
    return handle(opened)
}

@_cdecl("unsay_model_save") @implementation
public func unsay_model_save(
    _ handle: OpaquePointer!, _ folder: UnsafePointer<CChar>!
) -> unsay_status {
    boundary { try save(handle, folder, allowsRounding: false) }
}

@_cdecl("unsay_model_save_rounded") @implementation
public func unsay_model_save_rounded(
    _ handle: OpaquePointer!, _ folder: UnsafePointer<CChar>!
) -> unsay_status {
    boundary { try save(handle, folder, allowsRounding: true) }
}

private func save(
    _ handle: OpaquePointer?, _ folder: UnsafePointer<CChar>?, allowsRounding: Bool
) throws {
    let model = try model(handle)
    let folder = try requirePath(folder, "folder")
    try model.save(to: folder, allowsRounding: allowsRounding)
    log(UNSAY_LOG_INFO, "saved \(folder)")
}

@_cdecl("unsay_model_clone") @implementation
public func unsay_model_clone(
    _ source: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        out.pointee = handle(ModelHandle(try Model(cloning: model(source))))
    }
}

@_cdecl("unsay_model_close") @implementation
public func unsay_model_close(_ model: OpaquePointer!) { release(model, ModelHandle.self) }

@_cdecl("unsay_model_get_info") @implementation
public func unsay_model_get_info(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<unsay_model_info>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let c = model.configuration
        var info = unsay_model_info()
        info.parameter_count = UInt64(model.layout.parameterCount)
        info.tensor_count = UInt32(model.layout.parameters.count)
        info.flags =
            (c.isGated ? UInt32(UNSAY_MODEL_GATED) : 0)
            | (c.tiesHead ? UInt32(UNSAY_MODEL_TIED_HEAD) : 0)
            | (model.checkpoint.roundsChanges ? UInt32(UNSAY_MODEL_ROUNDS) : 0)
        info.vocab_size = Int32(c.vocabSize)
        info.d_model = Int32(c.dModel)
        info.d_ff = Int32(c.dFF)
        info.num_heads = Int32(c.numHeads)
        info.d_kv = Int32(c.dKV)
        info.num_layers = Int32(c.numLayers)
        info.num_decoder_layers = Int32(c.numDecoderLayers)
        info.relative_attention_num_buckets = Int32(c.relativeAttentionNumBuckets)
        info.relative_attention_max_distance = Int32(c.relativeAttentionMaxDistance)
        info.pad_token_id = model.tokenizer?.padTokenID ?? c.padTokenID
        info.eos_token_id = model.inputEndTokenID
        info.unk_token_id = model.tokenizer?.unkTokenID ?? c.unkTokenID
        info.decoder_start_token_id = c.decoderStartTokenID
        try fill(require(out, "out"), with: info, named: "unsay_model_info")
    }
}

@_cdecl("unsay_model_fingerprint") @implementation
public func unsay_model_fingerprint(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<UInt8>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let out = try require(out, "out")
        out.update(from: try model.fingerprint(), count: 32)
    }
}

@_cdecl("unsay_model_tensor") @implementation
public func unsay_model_tensor(
    _ handle: OpaquePointer!, _ index: UInt32, _ out: UnsafeMutablePointer<unsay_tensor_info>!
) -> unsay_status {
    boundary {
        let owner = try object(handle, ModelHandle.self, "model")
        let parameter = try owner.model.parameter(Int(index))
        var info = unsay_tensor_info()
        info.name = owner.name(Int(index))
        info.rank = Int32(parameter.shape.count)
        info.shape = (
            Int32(parameter.shape[0]),
            Int32(parameter.shape.count > 1 ? parameter.shape[1] : 1), 1, 1
        )
        try fill(require(out, "out"), with: info, named: "unsay_tensor_info")
    }
}

@_cdecl("unsay_model_read_tensor") @implementation
public func unsay_model_read_tensor(
    _ handle: OpaquePointer!, _ index: UInt32, _ values: UnsafeMutablePointer<Float>!,
    _ capacity: Int
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let parameter = try model.parameter(Int(index))
        guard capacity < 0 || capacity >= parameter.count else {
            throw Failure(
                UNSAY_E_BUFFER,
                "\(parameter.name) needs room for \(parameter.count) floats, has room for "
                    + "\(capacity)")
        }
        try model.read(
            Int(index),
            into: UnsafeMutableBufferPointer(
                start: try require(values, "values"), count: parameter.count))
    }
}

@_cdecl("unsay_model_file") @implementation
public func unsay_model_file(
    _ handle: OpaquePointer!, _ index: UInt32
) -> UnsafePointer<CChar>! {
    guard let handle else { return nil }
    let owner = Unmanaged<ModelHandle>.fromOpaque(UnsafeRawPointer(handle)).takeUnretainedValue()
    return owner.file(Int(index))
}
