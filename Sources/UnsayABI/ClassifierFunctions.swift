import CUnsay
import Classifying
import Models
import Support

// Section 8 of unsay.h: classifiers.

private func classifier(_ handle: OpaquePointer?) throws -> Classifier {
    try object(handle, Classifier.self, "classifier")
}

private var classifierDefaults: unsay_classifier_options {
    let ours = ClassifierOptions()
    var options = unsay_classifier_options()
    options.struct_size = MemoryLayout<unsay_classifier_options>.size
    options.passes = Int32(ours.passes)
    options.batch_size = Int32(ours.batchSize)
    options.max_ids = Int32(ours.maxIDs)
    options.learning_rate = ours.learningRate
    options.weight_decay = ours.weightDecay
    options.seed = ours.seed
    return options
}

@_cdecl("unsay_classifier_options_init") @implementation
public func unsay_classifier_options_init(
    _ options: UnsafeMutablePointer<unsay_classifier_options>!, _ struct_size: Int
) {
    initialise(options, struct_size, with: classifierDefaults)
}

private func settings(_ options: unsay_classifier_options) -> ClassifierOptions {
    var settings = ClassifierOptions()
    settings.passes = Int(options.passes)
    settings.batchSize = Int(options.batch_size)
    settings.maxIDs = Int(options.max_ids)
    settings.learningRate = options.learning_rate
    settings.weightDecay = options.weight_decay
    settings.seed = options.seed
    return settings
}

/// The caller's texts with a label for each token; those without a character are left out.
private func labelled(
    _ model: Model, _ texts: UnsafePointer<unsay_marked_text>?, _ count: Int
) throws -> [LabelledText] {
    try requireArray(texts, count, "texts").enumerated().compactMap { index, given in
        let spans = try requireArray(given.spans, given.span_count, "texts[\(index)].spans")
        return try LabelledText(
            model.tokens(given.text, "texts[\(index)].text", spans: true),
            spans: spans.map { (Int($0.begin), Int($0.end)) }, named: "texts[\(index)].spans")
    }
}

@_cdecl("unsay_classifier_train") @implementation
public func unsay_classifier_train(
    _ handle: OpaquePointer!, _ texts: UnsafePointer<unsay_marked_text>!, _ count: Int,
    _ options: UnsafePointer<unsay_classifier_options>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let out = try require(out, "out")
        let options = try read(options, over: classifierDefaults, named: "options")
        let made = try Classifier(
            model, learning: labelled(model, texts, count), settings(options)
        ) { done, total in
            guard let onProgress = options.on_progress else { return true }
            return onProgress(options.context, done, total) == UNSAY_CONTINUE
        }
        out.pointee = UnsayABI.handle(made)
    }
}

@_cdecl("unsay_classifier_open") @implementation
public func unsay_classifier_open(
    _ handle: OpaquePointer!, _ path: UnsafePointer<CChar>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        let made = try Classifier(model(handle), opening: requirePath(path, "path"))
        out.pointee = UnsayABI.handle(made)
    }
}

@_cdecl("unsay_classifier_save") @implementation
public func unsay_classifier_save(
    _ handle: OpaquePointer!, _ path: UnsafePointer<CChar>!
) -> unsay_status {
    boundary { try classifier(handle).save(requirePath(path, "path")) }
}

@_cdecl("unsay_classifier_get_info") @implementation
public func unsay_classifier_get_info(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<unsay_classifier_info>!
) -> unsay_status {
    boundary {
        let classifier = try classifier(handle)
        var info = unsay_classifier_info()
        withUnsafeMutableBytes(of: &info.encoder) { $0.copyBytes(from: classifier.facts.encoder) }
        info.token_count = UInt64(classifier.facts.tokenCount)
        info.marked_count = UInt64(classifier.facts.markedCount)
        info.loss = classifier.facts.loss
        info.d_model = Int32(classifier.head.weights.count)
        try fill(require(out, "out"), with: info, named: "unsay_classifier_info")
    }
}

@_cdecl("unsay_classifier_probabilities") @implementation
public func unsay_classifier_probabilities(
    _ handle: OpaquePointer!, _ text: UnsafePointer<unsay_sequence>!,
    _ probabilities: UnsafeMutablePointer<Float>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let classifier = try classifier(handle)
        let ids = try classifier.model.ids(require(text, "text").pointee, "text")
        try checkRoom(ids.count, 1, capacity, count, "probabilities")
        let target = try require(probabilities, "probabilities")
        target.update(from: try classifier.probabilities(ids), count: ids.count)
    }
}

@_cdecl("unsay_classifier_spans") @implementation
public func unsay_classifier_spans(
    _ handle: OpaquePointer!, _ text: UnsafePointer<unsay_sequence>!, _ threshold: Float,
    _ spans: UnsafeMutablePointer<unsay_span>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let classifier = try classifier(handle)
        let spelling = try classifier.model.spelling(require(text, "text").pointee, "text")
        try classifier.spans(spelling, threshold: threshold).map {
            unsay_span(begin: $0.lowerBound, end: $0.upperBound)
        }.withUnsafeBufferPointer {
            try deliver($0, to: spans, capacity: capacity, count: count, "spans")
        }
    }
}

@_cdecl("unsay_classifier_close") @implementation
public func unsay_classifier_close(_ handle: OpaquePointer!) { release(handle, Classifier.self) }
