/// Ages and sizes as the page shows them: short, rounded down. Its script does the same.
enum ShortText {
    /// `now`, `5 s`, `3 min`, `7 h`, `12 d`. A clock that was set back makes nothing negative.
    static func age(of time: Timestamp, at now: Timestamp) -> String {
        let (difference, overflow) = now.nanoseconds.subtractingReportingOverflow(time.nanoseconds)
        let seconds = overflow ? 0 : difference / 1_000_000_000
        return seconds < 1 ? "now" : span(seconds)
    }

    /// The same of a span, in whole seconds.
    static func span(_ seconds: Int64) -> String {
        switch seconds {
        case ..<60: "\(seconds) s"
        case ..<3600: "\(seconds / 60) min"
        case ..<172_800: "\(seconds / 3600) h"
        default: "\(seconds / 86_400) d"
        }
    }

    /// `78 B`, `1.2 KiB`, `34 MiB`.
    static func size(_ bytes: Int) -> String {
        if bytes < 1024 { return "\(bytes) B" }
        var unit = 1024
        var names = ["KiB", "MiB", "GiB", "TiB"][...]
        while names.count > 1, bytes >= unit * 1024 {
            unit *= 1024
            names.removeFirst()
        }
        let tenths = bytes / (unit / 1024) * 10 / 1024
        let name = names.first ?? ""
        return tenths < 100 ? "\(tenths / 10).\(tenths % 10) \(name)" : "\(tenths / 10) \(name)"
    }
}
