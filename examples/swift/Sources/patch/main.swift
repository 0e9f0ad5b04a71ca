// Makes a model unsay a phrase that it writes for an input.
//
//     swift run -c release patch models/debsum "summarize: ..." simple patched-model
//
// Prints the output before and after, and writes the patched model to a new folder. A patch in
// earnest also has many examples, and a guard of inputs that must not change.

@preconcurrency import Glibc  // stderr
import Unsay

func run(_ folder: String, _ input: String, _ phrase: String, _ newFolder: String) async throws {
    let model = try Model.open(folder)
    let options = GenerateOptions { $0.maxNewTokens = 64 }

    print("before: ", terminator: "")
    for try await token in model.stream(input, options) { print(token.text, terminator: "") }
    print()

    let patch = try model.patch()
    try patch.add(input, model.generate(input, options), avoid: [phrase])
    let ending = try patch.run(
        RunOptions {
            $0.maxSteps = 40
            $0.evaluateEvery = 1
        }
    ) { step in
        print("step \(step.step): avoided p \(step.avoidP)")
        return .continue
    }
    if ending != .goal { print("the goal was not met in time") }
    try patch.commit()

    print("after:  \(try model.generate(input, options))")
    try model.save(newFolder)
}

let arguments = CommandLine.arguments.dropFirst()
guard arguments.count == 4 else {
    fputs("patch MODEL_FOLDER INPUT PHRASE NEW_FOLDER\n", stderr)
    exit(EXIT_FAILURE)
}
do {
    try await run(arguments[1], arguments[2], arguments[3], arguments[4])
} catch let failure as Failure {
    fputs("\(failure.status): \(failure.message)\n", stderr)
    exit(EXIT_FAILURE)
}
