import Models
import Tensors

/// The tiny v1.0 model of Tests/Models, opened from its ONNX files.
func tinyModel(threads: Int = 1) throws -> Model {
    let folder =
        #filePath.split(separator: "/", omittingEmptySubsequences: false)
        .dropLast(2).joined(separator: "/") + "/Models/tiny-v10"
    return try Model(
        Checkpoint.open(folder: folder, allowLinks: false), tokenizerPath: nil,
        workers: Workers(threads: threads))
}
