import CSupport

/// What is left of the process's memory.
package enum Memory {
    /// Whether an allocation failed of late that could not be reported: see the reserve in
    /// CSupport. Whoever can throw `UNSAY_E_MEMORY` should, before more is asked for.
    package static var isShort: Bool { support_reserve_is_spent() != 0 }
}
