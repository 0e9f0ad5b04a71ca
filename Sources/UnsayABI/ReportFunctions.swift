import CUnsay
import Patching
import Support

// Section 6 of unsay.h: reports.

/// What a `unsay_report` points at.
final class ReportHandle: Sendable {
    let json: BorrowedText
    let html: BorrowedText

    init(_ report: Report) {
        json = BorrowedText(report.json.text())
        html = BorrowedText(report.html)
    }
}

private var reportDefaults: unsay_report_options {
    var options = unsay_report_options()
    options.struct_size = MemoryLayout<unsay_report_options>.size
    return options
}

@_cdecl("unsay_report_options_init") @implementation
public func unsay_report_options_init(
    _ options: UnsafeMutablePointer<unsay_report_options>!, _ struct_size: Int
) {
    initialise(options, struct_size, with: reportDefaults)
}

@_cdecl("unsay_session_report") @implementation
public func unsay_session_report(
    _ handle: OpaquePointer!, _ options: UnsafePointer<unsay_report_options>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let session = try session(handle)
        let out = try require(out, "out")
        let options = try read(options, over: reportDefaults, named: "options")
        var settings = ReportOptions()
        if let title = options.title { settings.title = try requireString(title, "options.title") }
        settings.inputs = try session.model.ids(
            options.inputs, options.input_count, "options.inputs")
        settings.generate = try generateSettings(
            options.generate, session.model, inputs: settings.inputs.count,
            named: "options.generate")
        let context = options.context
        settings.detect = options.detect.map { detect in
            { input, text in
                (text + [0]).withUnsafeBufferPointer { bytes in
                    bytes.withMemoryRebound(to: CChar.self) {
                        detect(context, input, $0.baseAddress) != 0
                    }
                }
            }
        }
        out.pointee = UnsayABI.handle(ReportHandle(try session.report(settings)))
    }
}

@_cdecl("unsay_report_json") @implementation
public func unsay_report_json(_ handle: OpaquePointer!) -> UnsafePointer<CChar>! {
    guard let report = try? object(handle, ReportHandle.self, "report") else { return nil }
    return UnsafePointer(report.json.pointer)
}

@_cdecl("unsay_report_html") @implementation
public func unsay_report_html(_ handle: OpaquePointer!) -> UnsafePointer<CChar>! {
    guard let report = try? object(handle, ReportHandle.self, "report") else { return nil }
    return UnsafePointer(report.html.pointer)
}

@_cdecl("unsay_report_free") @implementation
public func unsay_report_free(_ handle: OpaquePointer!) { release(handle, ReportHandle.self) }
