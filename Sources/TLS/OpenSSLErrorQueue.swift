import COpenSSL

/// The calling thread's queue of OpenSSL errors. Whoever calls OpenSSL empties it first, and reads it at once after a failure,
/// before anything else can run on the thread.
enum OpenSSLErrorQueue {
    static func clear() {
        ERR_clear_error()
    }

    /// The error that came first, which is the cause of those behind it; 0 when there is none.
    static var first: UInt {
        ERR_peek_error()
    }

    /// The first error, unless only the last one is about TLS: a check of a certificate may leave others before it.
    static var cause: UInt {
        ERR_GET_LIB(first) != ERR_LIB_SSL && ERR_GET_LIB(last) == ERR_LIB_SSL ? last : first
    }

    /// The error that came last, which tells where a reader gave up; 0 when there is none.
    static var last: UInt {
        ERR_peek_last_error()
    }

    /// The words of the first error; empties the queue.
    static func takeReason() -> String {
        let code = first
        clear()
        return reason(of: code)
    }

    static func reason(of code: UInt) -> String {
        guard code != 0 else { return "unknown error" }
        guard let reason = ERR_reason_error_string(code) else { return "error \(String(code, radix: 16))" }
        return String(cString: reason)
    }

    static func isReason(_ reason: Int32, of library: Int32, _ code: UInt) -> Bool {
        ERR_GET_LIB(code) == library && ERR_GET_REASON(code) == reason
    }

    /// The alert that the peer sent, when the error tells of one.
    static func receivedAlert(in code: UInt) -> String? {
        let reason = ERR_GET_REASON(code)
        // OpenSSL gives an alert the reason 1000 + its number; alerts are one byte.
        guard ERR_GET_LIB(code) == ERR_LIB_SSL, reason >= SSL_AD_REASON_OFFSET, reason < SSL_AD_REASON_OFFSET + 256 else { return nil }
        return alertName(reason - SSL_AD_REASON_OFFSET)
    }

    private static func alertName(_ number: Int32) -> String {
        switch number {
        // Those of TLS 1.3 that OpenSSL 3.0 has no words for, the one that clients hear most among them.
        case SSL_AD_MISSING_EXTENSION: return "missing extension"
        case SSL_AD_CERTIFICATE_REQUIRED: return "certificate required"
        default:
            let name = SSL_alert_desc_string_long(number).map { String(cString: $0) } ?? "unknown"
            return name == "unknown" ? "number \(number)" : name
        }
    }
}
