import CSupport
import CUnsay
import Glibc
import Support

/// Runs `body` on behalf of a C caller.
///
/// Swift errors stop here: each becomes its status, and its sentence becomes this thread's
/// last error. Nothing is recorded on success. No call begins while memory is so short that
/// the reserve of CSupport cannot be had: whatever it then failed to allocate would end the
/// process.
func boundary(_ body: () throws -> Void) -> unsay_status {
    guard support_reserve_keep() == 1 else {
        // Allocates nothing.
        let sentence: StaticString = "memory is too short for this call to begin"
        sentence.withUTF8Buffer {
            $0.withMemoryRebound(to: CChar.self) {
                support_set_last_error($0.baseAddress, $0.count)
            }
        }
        return UNSAY_E_MEMORY
    }
    do {
        try body()
        return UNSAY_OK
    } catch {
        let failure = error as? Failure ?? Failure(UNSAY_E_INTERNAL, "\(error)")
        var sentence = failure.sentence
        sentence.withUTF8 { utf8 in
            utf8.withMemoryRebound(to: CChar.self) {
                support_set_last_error($0.baseAddress, $0.count)
            }
        }
        return failure.status
    }
}

/// The argument, or `UNSAY_E_ARGUMENT` naming it.
func require<Value>(_ value: Value?, _ name: String) throws -> Value {
    guard let value else { throw Failure(UNSAY_E_ARGUMENT, "\(name) is NULL") }
    return value
}

/// No address is higher on any processor: an array that would end beyond it is none.
private let highestAddress: UInt = 1 << 56

/// Whether `count` elements can lie in memory from `start` on.
func isPossible<Element>(_ start: UnsafePointer<Element>, _ count: Int) -> Bool {
    let (size, overflow) = count.multipliedReportingOverflow(
        by: max(MemoryLayout<Element>.stride, 1))
    return count >= 0 && !overflow && UInt(size) <= highestAddress - UInt(bitPattern: start)
}

/// An array argument: NULL is fine where it is empty.
func requireArray<Element>(
    _ start: UnsafePointer<Element>?, _ count: Int, _ name: String
) throws -> UnsafeBufferPointer<Element> {
    func impossible() -> Failure {
        Failure(UNSAY_E_ARGUMENT, "the count of \(name) is \(UInt(bitPattern: count))")
    }
    guard count >= 0 else { throw impossible() }
    guard count > 0 else { return UnsafeBufferPointer(start: nil, count: 0) }
    let start = try require(start, name)
    guard isPossible(start, count) else { throw impossible() }
    return UnsafeBufferPointer(start: start, count: count)
}

func requireString(_ text: UnsafePointer<CChar>?, _ name: String) throws -> String {
    guard let string = String(validatingCString: try require(text, name)) else {
        throw Failure(UNSAY_E_TEXT, "\(name) is not valid UTF-8")
    }
    return string
}

/// A path: any bytes up to the NUL, as the system spells it.
func requirePath(_ path: UnsafePointer<CChar>?, _ name: String) throws -> Path {
    let path = try require(path, name)
    return Path(UnsafeRawBufferPointer(start: path, count: strlen(path)))
}

/// Structs that begin with their own size, so that they can grow.
protocol SizedStruct {
    var struct_size: Int { get set }
}

extension unsay_open_options: SizedStruct {}
extension unsay_generate_options: SizedStruct {}
extension unsay_session_options: SizedStruct {}
extension unsay_run_options: SizedStruct {}
extension unsay_model_info: SizedStruct {}
extension unsay_tensor_info: SizedStruct {}
extension unsay_hypothesis: SizedStruct {}
extension unsay_step: SizedStruct {}
extension unsay_evaluation: SizedStruct {}
extension unsay_delta_info: SizedStruct {}
extension unsay_plan: SizedStruct {}
extension unsay_report_options: SizedStruct {}
extension unsay_trial: SizedStruct {}
extension unsay_sweep_options: SizedStruct {}
extension unsay_classifier_options: SizedStruct {}
extension unsay_classifier_info: SizedStruct {}

/// No struct of any version is larger: a larger size is garbage, not the future.
private let largestStruct = 4096

/// Reads a caller's options over today's defaults.
///
/// - An older caller's struct is shorter: the fields it lacks keep their defaults.
/// - A newer caller's struct is longer: the bytes beyond ours must be zero, or the caller
///   is asking for something this library does not know.
func read<Options: SizedStruct>(
    _ pointer: UnsafePointer<Options>?, over defaults: Options, named name: String
) throws -> Options {
    guard let pointer else { return defaults }
    let size = UnsafeRawPointer(pointer).loadUnaligned(as: Int.self)
    guard size >= MemoryLayout<Int>.size, size <= largestStruct else {
        throw Failure(
            UNSAY_E_ARGUMENT,
            "\(name).struct_size is \(UInt(bitPattern: size)): fill it with its _init function")
    }
    let caller = UnsafeRawBufferPointer(start: pointer, count: size)
    let known = MemoryLayout<Options>.size
    guard caller.dropFirst(known).allSatisfy({ $0 == 0 }) else {
        throw Failure(
            UNSAY_E_UNSUPPORTED, "\(name) sets a field that is newer than this library")
    }
    var options = defaults
    withUnsafeMutableBytes(of: &options) {
        $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: caller.prefix(known)))
    }
    return options
}

/// Writes defaults to a caller's struct, as much of them as it has room for.
///
/// - Returns: false, and writes nothing, if the size is that of no version of it.
@discardableResult
func initialise<Options: SizedStruct>(
    _ pointer: UnsafeMutablePointer<Options>?, _ size: Int, with defaults: Options
) -> Bool {
    guard let pointer, size >= MemoryLayout<Int>.size, size <= largestStruct else { return false }
    var defaults = defaults
    defaults.struct_size = size
    copy(defaults, to: pointer, size)
    return true
}

/// Fills a caller's struct, of which `struct_size` says how much there is.
func fill<Value: SizedStruct>(
    _ pointer: UnsafeMutablePointer<Value>, with value: Value, named name: String
) throws {
    let size = UnsafeRawPointer(pointer).loadUnaligned(as: Int.self)
    guard size >= MemoryLayout<Int>.size, size <= largestStruct else {
        throw Failure(
            UNSAY_E_ARGUMENT,
            "\(name).struct_size is \(UInt(bitPattern: size)): set it to sizeof first")
    }
    var value = value
    value.struct_size = size
    copy(value, to: pointer, size)
}

private func copy<Value>(_ value: Value, to pointer: UnsafeMutableRawPointer, _ size: Int) {
    withUnsafeBytes(of: value) { ours in
        let target = UnsafeMutableRawBufferPointer(start: pointer, count: size)
        let known = min(size, ours.count)
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: ours.prefix(known)))
        for index in known..<size { target[index] = 0 }
    }
}

/// Copies values into a caller's array and stores how many there are.
///
/// - Throws: `UNSAY_E_BUFFER` if they do not fit; then only the count is written.
func deliver<Element>(
    _ values: UnsafeBufferPointer<Element>, to target: UnsafeMutablePointer<Element>?,
    capacity: Int, count: UnsafeMutablePointer<Int>?, _ name: String
) throws {
    let count = try require(count, "count")
    count.pointee = values.count
    guard capacity < 0 || capacity >= values.count else {
        throw Failure(
            UNSAY_E_BUFFER, "\(name) needs room for \(values.count), has room for \(capacity)")
    }
    guard let source = values.baseAddress, values.count > 0 else { return }
    try require(target, name).update(from: source, count: values.count)
}

/// Fills a caller's array of structs of `structSize` bytes each and stores how many there are.
///
/// - Throws: `UNSAY_E_BUFFER` if they do not fit; then only the count is written.
func deliver<Value: SizedStruct>(
    _ values: [Value], to target: UnsafeMutablePointer<Value>?, structSize: Int, capacity: Int,
    count: UnsafeMutablePointer<Int>?, _ name: String
) throws {
    let count = try require(count, "count")
    guard structSize >= MemoryLayout<Int>.size, structSize <= largestStruct else {
        throw Failure(
            UNSAY_E_ARGUMENT,
            "struct_size is \(UInt(bitPattern: structSize)): pass sizeof of an element of \(name)")
    }
    count.pointee = values.count
    guard capacity < 0 || capacity >= values.count else {
        throw Failure(
            UNSAY_E_BUFFER, "\(name) needs room for \(values.count), has room for \(capacity)")
    }
    guard !values.isEmpty else { return }
    let start = UnsafeMutableRawPointer(try require(target, name))
    for (index, value) in values.enumerated() {
        var value = value
        value.struct_size = structSize
        copy(value, to: start + index * structSize, structSize)
    }
}

// MARK: Handles

/// Hands an object to the caller, who owns it from now on.
func handle(_ object: AnyObject) -> OpaquePointer {
    OpaquePointer(Unmanaged.passRetained(object).toOpaque())
}

/// The object behind a handle.
func object<Object: AnyObject>(
    _ handle: OpaquePointer?, _ type: Object.Type, _ name: String
) throws -> Object {
    Unmanaged<Object>.fromOpaque(UnsafeRawPointer(try require(handle, name))).takeUnretainedValue()
}

/// Takes a handle back; NULL is fine.
func release<Object: AnyObject>(_ handle: OpaquePointer?, _ type: Object.Type) {
    guard let handle else { return }
    Unmanaged<Object>.fromOpaque(UnsafeRawPointer(handle)).release()
}
