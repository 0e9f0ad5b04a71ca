import CUnsay
import Models
import Support
import Tokenizers

// Section 3 of unsay.h: tokens.

@_cdecl("unsay_encode") @implementation
public func unsay_encode(
    _ handle: OpaquePointer!, _ text: UnsafePointer<CChar>!, _ text_size: Int,
    _ ids: UnsafeMutablePointer<Int32>!, _ spans: UnsafeMutablePointer<unsay_span>!,
    _ capacity: Int, _ count: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let tokens = try model.encode(textBytes(text, text_size, "text"))
        try tokens.map(\.id).withUnsafeBufferPointer {
            try deliver($0, to: ids, capacity: capacity, count: count, "ids")
        }
        if let spans {
            for (index, token) in tokens.enumerated() {
                spans[index] = unsay_span(begin: token.begin, end: token.end)
            }
        }
    }
}

@_cdecl("unsay_decode") @implementation
public func unsay_decode(
    _ handle: OpaquePointer!, _ ids: UnsafePointer<Int32>!, _ count: Int,
    _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int, _ size: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let ids = try requireArray(ids, count, "ids")
        for id in ids { try model.check(id, of: "ids") }
        _ = try model.requireTokenizer()
        let bytes = try model.decode(Array(ids))
        let size = try require(size, "size")
        size.pointee = bytes.count
        // A capacity over PTRDIFF_MAX arrives negative.
        guard capacity < 0 || capacity > bytes.count else {
            throw Failure(
                UNSAY_E_BUFFER,
                "text needs \(bytes.count + 1) bytes with its NUL, has room for \(capacity)")
        }
        let text = try require(text, "text")
        for (index, byte) in bytes.enumerated() { text[index] = CChar(bitPattern: byte) }
        text[bytes.count] = 0
    }
}

@_cdecl("unsay_token_piece") @implementation
public func unsay_token_piece(_ handle: OpaquePointer!, _ id: Int32) -> UnsafePointer<CChar>! {
    guard let handle else { return nil }
    let owner = Unmanaged<ModelHandle>.fromOpaque(UnsafeRawPointer(handle)).takeUnretainedValue()
    return owner.model.tokenizer?.piece(id)
}
