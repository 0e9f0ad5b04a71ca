import CUnsay
import Decoding
import Models
import Support

// Section 4 of unsay.h: generate and score.

@_cdecl("unsay_generate_options_init") @implementation
public func unsay_generate_options_init(
    _ options: UnsafeMutablePointer<unsay_generate_options>!, _ struct_size: Int
) {
    initialise(options, struct_size, with: generateDefaults)
}

@_cdecl("unsay_generate") @implementation
public func unsay_generate(
    _ handle: OpaquePointer!, _ inputs: UnsafePointer<unsay_sequence>!, _ count: Int,
    _ options: UnsafePointer<unsay_generate_options>!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let out = try require(out, "out")
        let generation = try generate(
            model, model.ids(inputs, count, "inputs"),
            generateSettings(options, model, inputs: count))
        out.pointee = UnsayABI.handle(ResultHandle(generation.hypotheses))
        if generation.wasStopped {
            throw Failure(UNSAY_E_CANCELLED, "a callback stopped the generation")
        }
    }
}

@_cdecl("unsay_score") @implementation
public func unsay_score(
    _ handle: OpaquePointer!, _ inputs: UnsafePointer<unsay_sequence>!,
    _ outputs: UnsafePointer<unsay_sequence>!, _ count: Int,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let out = try require(out, "out")
        var hypotheses = try score(
            model, model.ids(inputs, count, "inputs"), model.ids(outputs, count, "outputs"))
        for index in hypotheses.indices {
            hypotheses[index].text = try model.decode(hypotheses[index].ids)
        }
        out.pointee = UnsayABI.handle(ResultHandle(hypotheses.map { [$0] }))
    }
}

/// Stores the need and returns whether there is room for it.
func checkRoom(
    _ rows: Int, _ width: Int, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?, _ name: String,
    countName: String = "count"
) throws {
    let (need, overflow) = rows.multipliedReportingOverflow(by: width)
    guard !overflow else { throw Failure(UNSAY_E_MEMORY, "\(name) would overflow memory") }
    try require(count, countName).pointee = need
    guard capacity < 0 || capacity >= need else {
        throw Failure(
            UNSAY_E_BUFFER, "\(name) needs room for \(need) floats, has room for \(capacity)")
    }
}

@_cdecl("unsay_logits") @implementation
public func unsay_logits(
    _ handle: OpaquePointer!, _ input: UnsafePointer<unsay_sequence>!,
    _ output: UnsafePointer<unsay_sequence>!, _ values: UnsafeMutablePointer<Float>!,
    _ capacity: Int, _ count: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let inputIDs = try model.ids(require(input, "input").pointee, "input")
        let outputIDs = try model.ids(require(output, "output").pointee, "output")
        try checkRoom(outputIDs.count, model.configuration.vocabSize, capacity, count, "logits")
        try logits(model, inputIDs, outputIDs, into: require(values, "logits"))
    }
}

@_cdecl("unsay_encoder_states") @implementation
public func unsay_encoder_states(
    _ handle: OpaquePointer!, _ input: UnsafePointer<unsay_sequence>!,
    _ states: UnsafeMutablePointer<Float>!, _ capacity: Int, _ count: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let ids = try model.ids(require(input, "input").pointee, "input")
        try checkRoom(ids.count, model.configuration.dModel, capacity, count, "states")
        try encoderStates(model, ids, into: require(states, "states"))
    }
}

@_cdecl("unsay_embed") @implementation
public func unsay_embed(
    _ handle: OpaquePointer!, _ inputs: UnsafePointer<unsay_sequence>!, _ count: Int,
    _ normalize: Int32, _ embeddings: UnsafeMutablePointer<Float>!, _ capacity: Int,
    _ need: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        guard normalize == 0 || normalize == 1 else {
            throw Failure(UNSAY_E_ARGUMENT, "normalize is \(normalize); it must be 0 or 1")
        }
        let ids = try model.ids(inputs, count, "inputs")
        try checkRoom(
            ids.count, model.configuration.dModel, capacity, need, "embeddings",
            countName: "need")
        guard !ids.isEmpty else { return }
        try embed(model, ids, normalize: normalize == 1, into: require(embeddings, "embeddings"))
    }
}

@_cdecl("unsay_result_count") @implementation
public func unsay_result_count(_ result: OpaquePointer!, _ input: Int) -> Int {
    guard let result else { return 0 }
    return Unmanaged<ResultHandle>.fromOpaque(UnsafeRawPointer(result)).takeUnretainedValue()
        .count(input)
}

@_cdecl("unsay_result_get") @implementation
public func unsay_result_get(
    _ result: OpaquePointer!, _ input: Int, _ rank: Int,
    _ out: UnsafeMutablePointer<unsay_hypothesis>!
) -> unsay_status {
    boundary {
        let owner = try object(result, ResultHandle.self, "result")
        guard let hypothesis = owner.hypothesis(input, rank) else {
            throw Failure(
                UNSAY_E_ARGUMENT, "there is no hypothesis \(rank) of input \(input)")
        }
        try fill(require(out, "out"), with: hypothesis, named: "unsay_hypothesis")
    }
}

@_cdecl("unsay_result_free") @implementation
public func unsay_result_free(_ result: OpaquePointer!) { release(result, ResultHandle.self) }
