import CUnsay

/// A status and the sentence that explains it: the one error type of the library.
///
/// The sentence names the file, tensor or argument, what was expected and what was found.
/// UnsayABI turns it into the caller's return code and `unsay_last_error()`.
package struct Failure: Error, CustomStringConvertible {
    package let status: unsay_status
    package let sentence: String

    package init(_ status: unsay_status, _ sentence: String) {
        self.status = status
        self.sentence = sentence
    }

    package var description: String { sentence }
}
