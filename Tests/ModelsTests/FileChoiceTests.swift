import CUnsay
import Support
import Testing

@testable import Models

@Suite("The choice of files")
struct FileChoiceTests {
    private func chosen(_ names: String, variant: String? = nil) throws -> String {
        let files = FileChoice(names.split(separator: " ").map { $0 + ".onnx" })
        return try files.names(variant: variant, in: "folder").map { $0.dropLast(5) }
            .joined(separator: " ")
    }

    @Test(
        "the most precise variant that is whole is opened, all its parts",
        arguments: [
            // Optimum.
            (
                "encoder_model decoder_model decoder_with_past_model decoder_model_merged",
                "decoder_model decoder_model_merged decoder_with_past_model encoder_model"
            ),
            ("encoder_model decoder_model", "decoder_model encoder_model"),
            ("encoder_model", "encoder_model"),
            // transformers.js.
            (
                "encoder_model_quantized decoder_model_merged_quantized encoder_model_fp16 "
                    + "decoder_model_merged_fp16 encoder_model_q4 decoder_model_merged_q4",
                "decoder_model_merged_fp16 encoder_model_fp16"
            ),
            (
                "encoder_model_q4f16 decoder_model_merged_q4f16 encoder_model_bnb4 "
                    + "decoder_model_merged_bnb4",
                "decoder_model_merged_q4f16 encoder_model_q4f16"
            ),
            (
                "encoder_model_int8 decoder_model_merged_int8 encoder_model decoder_model_merged",
                "decoder_model_merged encoder_model"
            ),
            // A plain encoder whose decoder is there in 8 bits only.
            (
                "encoder_model encoder_model_quantized decoder_model_merged_quantized",
                "decoder_model_merged_quantized encoder_model_quantized"
            ),
            (
                "encoder_model_fp16 decoder_model_merged_q8",
                "decoder_model_merged_q8 encoder_model_fp16"
            ),
            // One file.
            ("model model_fp16 model_quantized", "model"),
            ("model_quantized model_q4", "model_quantized"),
            // onnxruntime's converter, fastT5, the model zoo.
            ("t5_encoder t5_decoder t5_encoder_fp32 t5_decoder_fp32", "t5_decoder t5_encoder"),
            ("t5_encoder_decoder_init t5_decoder", "t5_decoder t5_encoder_decoder_init"),
            (
                "t5-small-encoder-quantized t5-small-decoder-quantized "
                    + "t5-small-init-decoder-quantized t5-small-encoder",
                "t5-small-decoder-quantized t5-small-encoder-quantized "
                    + "t5-small-init-decoder-quantized"
            ),
            (
                "t5-encoder-12 t5-decoder-with-lm-head-12",
                "t5-decoder-with-lm-head-12 t5-encoder-12"
            ),
            ("large_beam_search", "large_beam_search"),
            // Parts of Optimum's beside something else.
            ("encoder_model decoder_model unrelated", "decoder_model encoder_model"),
        ])
    func rule(names: String, expected: String) throws {
        #expect(try chosen(names) == expected)
    }

    @Test("a named variant is taken, and what it lacks from the best other one")
    func named() throws {
        let names =
            "encoder_model decoder_model_merged encoder_model_fp16 decoder_model_merged_fp16 "
            + "decoder_model_merged_q4"
        #expect(
            try chosen(names, variant: "fp16") == "decoder_model_merged_fp16 encoder_model_fp16")
        #expect(try chosen(names, variant: "q4") == "decoder_model_merged_q4 encoder_model")
        #expect(try chosen(names, variant: "") == "decoder_model_merged encoder_model")
    }

    @Test("a variant that is not there is NOT_FOUND, and those that are are named")
    func missing() {
        let (code, sentence) = status {
            _ = try chosen("encoder_model_fp16 decoder_model_fp16 encoder_model_q4", variant: "q8")
        }
        #expect(code == UNSAY_E_NOT_FOUND)
        #expect(
            sentence == "folder holds no variant \"q8\" of a model: it has \"fp16\", \"q4\"",
            "\(sentence)")
    }

    @Test("no file is chosen where there is none")
    func none() throws {
        #expect(try chosen("") == "")
        #expect(try FileChoice(["config.json"]).names(variant: "fp16", in: "folder").isEmpty)
    }
}
